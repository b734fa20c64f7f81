"""The command line: one module a command, thin.  Only here is anything printed."""
