/**
 * A list of files as a read-only ISO 9660 image with Joliet names (ECMA-119,
 * 2nd edition; Joliet Specification, 1995), made on the fly: descriptors, path
 * tables and directories are in memory, the contents are read from the blobs
 * when they are asked for. The same list gives the same bytes.
 *
 *   sector 16, 17, 18   primary descriptor, Joliet descriptor, terminator
 *   then                path tables: primary L, M; Joliet L, M
 *   then                directories: primary, Joliet
 *   then                contents, each from a sector's begin
 *
 * Joliet names have up to 103 UTF-16 units (the specification says 64; Linux,
 * Windows and macOS read 103), primary ones are level 2. What is longer is cut,
 * and numbered where two would be the same. A file of 4 GiB and more has several
 * extents (level 3). Folders may be deeper than the eight levels of level 1.
 */

import { directoryName, fileName, jolietName, uniqueNames } from './iso9660-names.js';
import { readBlob } from './nbd-source.js';

/** @typedef {{path: string, size: number, mtime: number, blob: Blob}} IsoFile mtime in ms since 1970 */
/** @typedef {import('./nbd-session.js').Source & {lastModified: number}} IsoSource */

const SECTOR = 2048;
const FIRST_DESCRIPTOR = 16; // a sector
const MAX_EXTENT = 0xfffff800; // bytes: the largest multiple of a sector in 32 bits
const MAX_DIRECTORIES = 65_535; // a path table's record has 16 bits for its parent
const MAX_SECTORS = 0xffffffff;
const MAX_METADATA = 64 << 20; // bytes in memory
const READS = 16; // of blobs at a time in one read

export const MAX_FILES = 100_000;

const FLAG_DIRECTORY = 2;
const FLAG_MORE_EXTENTS = 0x80;

/**
 * @param {IsoFile[]} files paths with '/', relative
 * @param {{name?: string}} [options] name: of the volume
 * @returns {IsoSource}
 */
export function isoSource(files, { name = 'FILES' } = {}) {
    if (!files.length)
        throw new Error('there are no files in it');
    if (files.length > MAX_FILES)
        throw new Error(`more than ${MAX_FILES} files`);
    const root = buildTree(files);
    const names = [
        { tree: nameTree(root, primaryNames), encode: encodeAscii },
        { tree: nameTree(root, jolietNames), encode: encodeUcs2 },
    ];
    const layout = placeAll(names);
    const metadata = render(names, layout, name, root.mtime);
    return {
        size: layout.sectors * SECTOR,
        readOnly: true,
        name: `${name}.iso`,
        lastModified: root.mtime,
        read: (offset, length) => readImage(metadata, layout.contents, offset, length),
    };
}

// --- the tree of what there is ---

function buildTree(files) {
    const root = newDirectory('', 0);
    for (const file of files) {
        const mtime = file.mtime || 0;
        const parts = file.path.normalize('NFC').split('/').filter((part) => part && part !== '.');
        if (!parts.length || parts.includes('..'))
            throw new Error(`not a path in a folder: ${file.path}`);
        let directory = root;
        root.mtime = Math.max(root.mtime, mtime);
        for (const part of parts.slice(0, -1)) {
            const key = `${part}/`; // a file may have the same name
            if (!directory.children.has(key))
                directory.children.set(key, newDirectory(part, mtime));
            directory = directory.children.get(key);
            directory.mtime = Math.max(directory.mtime, mtime);
        }
        const last = parts.at(-1);
        if (directory.children.has(last))
            throw new Error(`${file.path} is there twice`);
        directory.children.set(last, { name: last, mtime, file, children: null, sector: 0 });
    }
    return root;
}

function newDirectory(name, mtime) {
    return { name, mtime, file: null, children: new Map() };
}

// --- one naming of it: directories in the order of the path table, entries sorted ---

const primaryNames = (nodes) => uniqueNames(nodes, (node, number) =>
    node.children ? directoryName(node.name, number) : fileName(node.name, number));
const jolietNames = (nodes) => uniqueNames(nodes, (node, number) =>
    node.children ? jolietName(node.name, number) : `${jolietName(node.name, number)};1`);

function nameTree(root, nameAll) {
    const top = { node: root, id: '', parent: null, entries: [], number: 1, sector: 0, bytes: 0 };
    const directories = [top];
    for (const directory of directories) { // grows: level by level, which is the path table's order
        // Sorted: which of two alike gets a number must not depend on the list's order.
        const nodes = [...directory.node.children.values()].sort((a, b) => compare(a.name, b.name));
        const ids = nameAll(nodes);
        directory.entries = nodes.map((node, i) => ({ node, id: ids[i], directory: null }))
            .sort((a, b) => compare(a.id, b.id));
        for (const entry of directory.entries) {
            if (!entry.node.children)
                continue;
            entry.directory = { node: entry.node, id: entry.id, parent: directory, entries: [],
                number: directories.length + 1, sector: 0, bytes: 0 };
            directories.push(entry.directory);
        }
    }
    if (directories.length > MAX_DIRECTORIES)
        throw new Error(`more than ${MAX_DIRECTORIES} folders`);
    return directories;
}

function compare(a, b) {
    return a < b ? -1 : a > b ? 1 : 0;
}

function encodeAscii(text) {
    return Uint8Array.from(text, (char) => char.charCodeAt(0));
}

function encodeUcs2(text) {
    const bytes = new Uint8Array(2 * text.length);
    for (let i = 0; i < text.length; i++) {
        bytes[2 * i] = text.charCodeAt(i) >> 8;
        bytes[2 * i + 1] = text.charCodeAt(i) & 255;
    }
    return bytes;
}

// --- where everything is ---

const sectorsOf = (bytes) => Math.ceil(bytes / SECTOR);

function extentsOf(node) {
    if (node.children)
        return 1;
    return Math.max(1, Math.ceil(node.file.size / MAX_EXTENT));
}

const recordLength = (idLength) => 33 + idLength + (idLength % 2 ? 0 : 1);

/** Bytes of a directory: a record does not cross the end of a sector. */
function directoryBytes(directory, encode) {
    let at = 2 * recordLength(1);
    for (const { node, id } of directory.entries) {
        const length = recordLength(encode(id).length);
        for (let i = extentsOf(node); i > 0; i--)
            at = placeRecord(at, length) + length;
    }
    return sectorsOf(at) * SECTOR;
}

function placeRecord(at, length) {
    return at % SECTOR + length > SECTOR ? sectorsOf(at) * SECTOR : at;
}

function placeAll(names) {
    let next = FIRST_DESCRIPTOR + 3;
    for (const naming of names) {
        naming.tableBytes = naming.tree.reduce((sum, { id }) => {
            const length = naming.encode(id).length || 1;
            return sum + 8 + length + length % 2;
        }, 0);
        for (const order of ['little', 'big']) {
            naming[order] = next;
            next += sectorsOf(naming.tableBytes);
        }
    }
    for (const { tree, encode } of names) {
        for (const directory of tree) {
            directory.sector = next;
            directory.bytes = directoryBytes(directory, encode);
            next += directory.bytes / SECTOR;
        }
    }
    if (next * SECTOR > MAX_METADATA)
        throw new Error('the names of its files take more memory than is given');
    return placeContents(names[1].tree, next);
}

// An empty file has no sector: 0.
function placeContents(tree, first) {
    const contents = [];
    let next = first;
    for (const { entries } of tree) {
        for (const { node } of entries) {
            if (node.children || !node.file.size)
                continue;
            node.sector = next;
            contents.push({ start: next * SECTOR, file: node.file });
            next += sectorsOf(node.file.size);
        }
    }
    if (next > MAX_SECTORS)
        throw new Error('it is larger than an ISO 9660 image can be (8 TiB)');
    return { metadataSectors: first, sectors: next, contents };
}

// --- writing the part that is in memory ---

function render(names, layout, volume, mtime) {
    const bytes = new Uint8Array(layout.metadataSectors * SECTOR);
    const image = { bytes, view: new DataView(bytes.buffer) };
    const [primary, joliet] = names;
    renderDescriptor(image, FIRST_DESCRIPTOR, primary, layout.sectors, mtime, { type: 1, volume: directoryName(volume, 0) });
    renderDescriptor(image, FIRST_DESCRIPTOR + 1, joliet, layout.sectors, mtime,
        { type: 2, volume: jolietName(volume, 0).slice(0, 16) });
    renderDescriptorStart(image, FIRST_DESCRIPTOR + 2, 255);
    for (const { tree, encode, little, big } of names) {
        renderPathTable(image, little * SECTOR, tree, encode, true);
        renderPathTable(image, big * SECTOR, tree, encode, false);
        for (const directory of tree)
            renderDirectory(image, directory, encode);
    }
    return bytes;
}

function renderDescriptorStart({ bytes }, sector, type) {
    bytes[sector * SECTOR] = type;
    bytes.set(encodeAscii('CD001\x01'), sector * SECTOR + 1);
}

function renderDescriptor(image, sector, naming, sectors, mtime, { type, volume }) {
    const { bytes, view } = image;
    const at = sector * SECTOR;
    const { tree, encode, tableBytes, little, big } = naming;
    const text = (offset, length, value) => {
        const fill = encode(' ');
        for (let i = 0; i + fill.length <= length; i += fill.length)
            bytes.set(fill, at + offset + i);
        bytes.set(encode(value).subarray(0, length), at + offset);
    };
    renderDescriptorStart(image, sector, type);
    text(8, 32, '');
    text(40, 32, volume);
    both32(view, at + 80, sectors);
    if (type === 2)
        bytes.set(encodeAscii('%/E'), at + 88); // UCS-2, level 3
    both16(view, at + 120, 1);
    both16(view, at + 124, 1);
    both16(view, at + 128, SECTOR);
    both32(view, at + 132, tableBytes);
    view.setUint32(at + 140, little, true);
    view.setUint32(at + 148, big, false);
    renderRecord(image, at + 156, Uint8Array.of(0), tree[0].sector, tree[0].bytes, tree[0].node.mtime, FLAG_DIRECTORY);
    for (const [offset, length] of [[190, 128], [318, 128], [446, 128], [574, 128], [702, 37], [739, 37], [776, 37]])
        text(offset, length, offset === 574 ? 'NBD-PROXY' : '');
    for (const [offset, time] of [[813, mtime], [830, mtime], [847, null], [864, null]])
        bytes.set(encodeAscii(longDate(time)), at + offset);
    bytes[at + 881] = 1;
}

function renderPathTable({ bytes, view }, at, tree, encode, little) {
    for (const directory of tree) {
        const id = directory.parent ? encode(directory.id) : Uint8Array.of(0);
        bytes[at] = id.length;
        view.setUint32(at + 2, directory.sector, little);
        view.setUint16(at + 6, (directory.parent ?? directory).number, little);
        bytes.set(id, at + 8);
        at += 8 + id.length + id.length % 2;
    }
}

function renderDirectory(image, directory, encode) {
    const start = directory.sector * SECTOR;
    const parent = directory.parent ?? directory;
    let at = start;
    const add = (id, sector, size, mtime, flags) => {
        at = start + placeRecord(at - start, recordLength(id.length));
        at += renderRecord(image, at, id, sector, size, mtime, flags);
    };
    add(Uint8Array.of(0), directory.sector, directory.bytes, directory.node.mtime, FLAG_DIRECTORY);
    add(Uint8Array.of(1), parent.sector, parent.bytes, parent.node.mtime, FLAG_DIRECTORY);
    for (const { node, id, directory: below } of directory.entries) {
        const encoded = encode(id);
        if (below) {
            add(encoded, below.sector, below.bytes, node.mtime, FLAG_DIRECTORY);
            continue;
        }
        let { sector } = node;
        let left = node.file.size;
        for (let i = extentsOf(node); i > 0; i--) {
            const size = Math.min(left, MAX_EXTENT);
            add(encoded, sector, size, node.mtime, i > 1 ? FLAG_MORE_EXTENTS : 0);
            sector += sectorsOf(size);
            left -= size;
        }
    }
}

function renderRecord({ bytes, view }, at, id, sector, size, mtime, flags) {
    bytes[at] = recordLength(id.length);
    both32(view, at + 2, sector);
    both32(view, at + 10, size);
    bytes.set(shortDate(mtime), at + 18);
    bytes[at + 25] = flags;
    both16(view, at + 28, 1);
    bytes[at + 32] = id.length;
    bytes.set(id, at + 33);
    return bytes[at];
}

function both32(view, at, value) {
    view.setUint32(at, value, true);
    view.setUint32(at + 4, value, false);
}

function both16(view, at, value) {
    view.setUint16(at, value, true);
    view.setUint16(at + 2, value, false);
}

// In UTC; a record has one byte for the year.
function clampedDate(mtime) {
    return new Date(Math.min(Math.max(mtime, Date.UTC(1970)), Date.UTC(2155, 11, 31)));
}

function shortDate(mtime) {
    const date = clampedDate(mtime);
    return Uint8Array.of(date.getUTCFullYear() - 1900, date.getUTCMonth() + 1, date.getUTCDate(),
        date.getUTCHours(), date.getUTCMinutes(), date.getUTCSeconds(), 0);
}

function longDate(mtime) {
    if (mtime === null)
        return '0'.repeat(16) + '\0';
    return clampedDate(mtime).toISOString().replace(/[-T:]/g, '').slice(0, 14) + '00\0';
}

// --- reading ---

async function readImage(metadata, contents, offset, length) {
    const result = new Uint8Array(length);
    if (offset < metadata.length)
        result.set(metadata.subarray(offset, offset + length));
    const end = offset + length;
    const pieces = [];
    for (let i = firstAt(contents, offset); i < contents.length && contents[i].start < end; i++) {
        const { start, file } = contents[i];
        const from = Math.max(offset, start);
        const to = Math.min(end, start + file.size);
        if (from < to)
            pieces.push({ blob: file.blob, at: from - start, length: to - from, into: from - offset });
    }
    for (let i = 0; i < pieces.length; i += READS) {
        await Promise.all(pieces.slice(i, i + READS).map(async (piece) => {
            result.set(new Uint8Array(await readBlob(piece.blob, piece.at, piece.length)), piece.into);
        }));
    }
    return result.buffer;
}

/** The last of the contents that starts at or before the offset, or 0. */
function firstAt(contents, offset) {
    let low = 0;
    let high = contents.length;
    while (low < high) {
        const middle = (low + high) >> 1;
        if (contents[middle].start <= offset)
            low = middle + 1;
        else
            high = middle;
    }
    return Math.max(0, low - 1);
}
