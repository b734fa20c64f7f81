"""Who may speak TLS with whom: anybody, the key being pinned; in a private network, its members.

In such a network both sides show a certificate of its authority, or there is no connection.
"""

from __future__ import annotations

import os
import ssl
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from p2pfs.authority import authority_certificate, member_certificate
from p2pfs.identity import Identity

if TYPE_CHECKING:
    from p2pfs.network import MemberKeys


def server_context(identity: Identity, members: MemberKeys | None = None) -> ssl.SSLContext:
    """TLS 1.3 with the node's own key; HTTP/2 is for clients that nobody here wrote."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0  # a pinned peer never resumes, so tickets would be sent for nothing
    context.set_alpn_protocols(["h2", "http/1.1"])
    if members is None:
        _show(context, identity.certificate_pem(), identity)
    else:
        _only_members(context, identity, members)
    return context


def client_context(members: MemberKeys | None = None) -> ssl.SSLContext:
    """TLS 1.3; whose key it is, `connect_tls` checks, so in a public network nothing else is.

    A member shows a key drawn for this run: that it is one, and not which.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    if members is not None:
        _only_members(context, Identity(Ed25519PrivateKey.generate()), members)
    return context


def _only_members(context: ssl.SSLContext, own: Identity, members: MemberKeys) -> None:
    """Show a member's certificate, and demand one."""
    certificate = member_certificate(members.authority, own.private_key.public_key())
    _show(context, ssl.DER_cert_to_PEM_cert(certificate).encode(), own)
    context.load_verify_locations(cadata=authority_certificate(members.authority))
    context.verify_mode = ssl.CERT_REQUIRED


def _show(context: ssl.SSLContext, certificate_pem: bytes, own: Identity) -> None:
    # `ssl` takes files only; this one is never on a disk.
    descriptor = os.memfd_create("p2pfs-certificate")
    try:
        os.write(descriptor, certificate_pem + own.private_key_pem())
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)
