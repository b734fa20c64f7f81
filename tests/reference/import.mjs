// Prints "CID path" for a folder and everything in it, as the reference importer sees them.
// Usage: node import.mjs FOLDER   (what is no file or directory, and what is hidden, is left out)

import { createReadStream } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { importer } from 'ipfs-unixfs-importer'
import { balanced } from 'ipfs-unixfs-importer/layout'
import { fixedSize } from 'ipfs-unixfs-importer/chunker'

const blocks = new Map()
const blockstore = {
  put (cid, block) { blocks.set(cid.toString(), block); return cid },
  get (cid) { return blocks.get(cid.toString()) }
}

async function * files (folder, path) {
  yield { path }
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    if (entry.name.startsWith('.')) continue
    const below = join(folder, entry.name)
    if (entry.isDirectory()) yield * files(below, `${path}/${entry.name}`)
    if (entry.isFile()) yield { path: `${path}/${entry.name}`, content: createReadStream(below) }
  }
}

const options = {
  cidVersion: 1,
  rawLeaves: true,
  chunker: fixedSize({ chunkSize: 262144 }),
  layout: balanced({ maxChildrenPerNode: 174 }),
  shardSplitStrategy: 'links-bytes'
}
for await (const { cid, path } of importer(files(process.argv[2], 'root'), blockstore, options)) {
  console.log(cid.toString(), path)
}
