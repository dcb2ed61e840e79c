/**
 * Sources for NbdServer: a file that is read, and a file that is also written.
 * The type Source is in nbd-session.js.
 */

/** @typedef {import('./nbd-session.js').Source} Source */

const PIECE = 1 << 20; // bytes of a file that are read at a time where reads follow each other
const PIECES = 8; // of them kept
const ENDS = 16; // reads that the next one may follow
const BLOCK = 4096; // bytes; what handleSource() keeps of writes
const MAX_DIRTY = 64 << 20; // bytes in memory before a flush is forced
const MAX_WRITABLE = 1 << 30; // bytes; a flush copies the whole file

/**
 * A file as the user picked it, read-only. The browser refuses to read a file
 * that was changed since; a short answer is an error too.
 * @param {File|Blob} file
 * @returns {Source}
 */
export function fileSource(file) {
    return new PickedFile(file);
}

/**
 * To a browser a read costs more than its bytes. So where reads follow each
 * other, larger pieces are read and kept, and the next one ahead of time.
 */
class PickedFile {
    readOnly = true;
    #file;
    #pieces = new Map(); // where it begins -> a promise of its bytes; the one used longest ago first
    #ends = []; // where the last reads ended

    constructor(file) {
        this.#file = file;
        this.size = file.size;
        this.name = file.name ?? '';
    }

    async read(offset, length) {
        const follows = this.#ends.includes(offset);
        this.#ends.push(offset + length);
        if (this.#ends.length > ENDS)
            this.#ends.shift();
        if (!length || length >= PIECE || !(follows || this.#pieces.has(offset - offset % PIECE)))
            return readBlob(this.#file, offset, length);
        const end = offset + length;
        const starts = [];
        for (let start = offset - offset % PIECE; start < end; start += PIECE)
            starts.push(start);
        const pieces = starts.map((start) => this.#piece(start));
        if (follows && starts.at(-1) + PIECE < this.size)
            this.#piece(starts.at(-1) + PIECE).catch(() => {}); // whoever needs it is told
        const parts = await Promise.all(pieces);
        if (parts.length === 1)
            return parts[0].slice(offset - starts[0], end - starts[0]);
        const whole = new Uint8Array(length);
        parts.forEach((part, i) => {
            const from = Math.max(offset - starts[i], 0);
            whole.set(new Uint8Array(part, from, Math.min(end - starts[i], PIECE) - from), Math.max(starts[i] - offset, 0));
        });
        return whole.buffer;
    }

    /** @returns {Promise<ArrayBuffer>} */
    #piece(start) {
        let piece = this.#pieces.get(start);
        this.#pieces.delete(start); // it goes to the end
        if (!piece) {
            piece = readBlob(this.#file, start, Math.min(PIECE, this.size - start));
            piece.catch(() => this.#pieces.delete(start)); // the next to ask tries again
        }
        this.#pieces.set(start, piece);
        if (this.#pieces.size > PIECES)
            this.#pieces.delete(this.#pieces.keys().next().value);
        return piece;
    }
}

/**
 * @param {Blob} blob
 * @param {number} offset
 * @param {number} length
 * @returns {Promise<ArrayBuffer>} exactly that
 */
export async function readBlob(blob, offset, length) {
    const data = await blob.slice(offset, offset + length).arrayBuffer();
    if (data.byteLength !== length)
        throw new Error(`${blob.name ?? 'the file'} is shorter than it was`);
    return data;
}

/** Whether this browser can write to a file that the user picks (File System Access API). */
export function canWriteFiles() {
    return typeof globalThis.showOpenFilePicker === 'function';
}

/**
 * A file that the host may write to. The browser asks the user; if the answer
 * is no, the source is read-only. Writes stay in memory until a flush, which
 * gives the browser's API what it needs: it writes a copy of the file and puts
 * it in the place of the old one. That is whole or not at all, but costs the
 * size of the file, so larger files are refused.
 * @param {FileSystemFileHandle} handle
 * @returns {Promise<Source & {file: File}>}
 */
export async function handleSource(handle) {
    const file = await handle.getFile();
    if (!await mayWrite(handle))
        return Object.assign(fileSource(file), { file });
    if (file.size > MAX_WRITABLE)
        throw new Error('only files up to 1 GiB can be made writable');
    return new WritableFile(handle, file);
}

async function mayWrite(handle) {
    const mode = { mode: 'readwrite' };
    if (await handle.queryPermission(mode) === 'granted')
        return true;
    return await handle.requestPermission(mode) === 'granted';
}

/** One operation at a time: a read must not meet the moment when the file is replaced. */
class WritableFile {
    readOnly = false;
    #handle;
    #dirty = new Map(); // number of a block -> its bytes
    #last = Promise.resolve();

    constructor(handle, file) {
        this.#handle = handle;
        this.file = file;
        this.size = file.size;
        this.name = file.name;
    }

    read(offset, length) {
        return this.#inTurn(() => this.#read(offset, length));
    }

    write(offset, data) {
        return this.#inTurn(async () => {
            if (this.#dirty.size * BLOCK + data.length > MAX_DIRTY)
                await this.#flush();
            await this.#write(offset, data);
        });
    }

    flush() {
        return this.#inTurn(() => this.#flush());
    }

    #inTurn(operation) {
        const result = this.#last.then(operation);
        this.#last = result.catch(() => {});
        return result;
    }

    async #read(offset, length) {
        const data = await readBlob(this.file, offset, length);
        const bytes = new Uint8Array(data);
        for (let block = Math.floor(offset / BLOCK); block * BLOCK < offset + length; block++) {
            const dirty = this.#dirty.get(block);
            if (!dirty)
                continue;
            const start = Math.max(offset, block * BLOCK);
            const end = Math.min(offset + length, block * BLOCK + dirty.length);
            bytes.set(dirty.subarray(start - block * BLOCK, end - block * BLOCK), start - offset);
        }
        return data;
    }

    async #write(offset, data) {
        for (let at = 0; at < data.length;) {
            const block = Math.floor((offset + at) / BLOCK);
            const within = offset + at - block * BLOCK;
            const part = Math.min(BLOCK - within, data.length - at);
            if (!this.#dirty.has(block)) {
                const length = Math.min(BLOCK, this.size - block * BLOCK);
                this.#dirty.set(block, part === length ? new Uint8Array(length)
                    : new Uint8Array(await readBlob(this.file, block * BLOCK, length)));
            }
            this.#dirty.get(block).set(data.subarray(at, at + part), within);
            at += part;
        }
    }

    async #flush() {
        if (!this.#dirty.size)
            return;
        // The browser would not notice that another program wrote to the file.
        const now = await this.#handle.getFile();
        if (now.size !== this.size || now.lastModified !== this.file.lastModified)
            throw new Error(`${this.name} was changed by another program`);
        const stream = await this.#handle.createWritable({ keepExistingData: true });
        try {
            for (const [block, data] of [...this.#dirty].sort((a, b) => a[0] - b[0]))
                await stream.write({ type: 'write', position: block * BLOCK, data });
            await stream.close();
        } catch (error) {
            await stream.abort?.().catch(() => {});
            throw error;
        }
        this.file = await this.#handle.getFile();
        this.#dirty.clear();
    }
}
