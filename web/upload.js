/**
 * One image on its way into the BMC's storage, in pieces; after a failure it
 * goes on from what the BMC has.
 */

import { errorWords } from './text.js';
import { forgetUpload, rememberUpload, rememberedUpload } from './remember.js';

const PIECE_MIN = 256 << 10;
const PIECE_MAX = 16 << 20;
const PIECE_START = 1 << 20;
const PIECE_MS = 1000; // a piece should take about that long
const TRIES = 6; // without a byte of progress
const FIRST_PAUSE_MS = 500;
const PIECE_LEAST = 16 << 10; // where a proxy takes less than that at a time there is no going on

export class Upload {
    #api;
    #abort = new AbortController();
    #piece = PIECE_START;
    #pieceMax = PIECE_MAX; // a proxy in front may take less
    #started = 0; // time and offset where this run began
    #startOffset = 0;
    offset = 0;
    error = '';
    stopped = false; // by the user
    active = true;

    /**
     * @param {import('./api.js').Api} api
     * @param {File} file
     * @param {(upload: Upload) => void} onChange
     */
    constructor(api, file, onChange) {
        this.#api = api;
        this.file = file;
        this.onChange = onChange;
    }

    get name() {
        return this.file.name;
    }

    /** Bytes a second of this run; 0: not known. */
    get rate() {
        const seconds = (performance.now() - this.#started) / 1000;
        return this.#started && seconds > 0.2 ? (this.offset - this.#startOffset) / seconds : 0;
    }

    stop() {
        this.#abort.abort();
    }

    /**
     * Resolves when it ended: all of it is there, or it was stopped, or error says why not.
     * @param {import('./api.js').Upload|undefined} stored what the BMC has by that name
     */
    async run(stored) {
        try {
            this.offset = await this.#firstOffset(stored);
            rememberUpload(this.name, this.file);
            this.#started = performance.now();
            this.#startOffset = this.offset;
            this.onChange(this);
            await this.#sendAll();
            forgetUpload(this.name);
        } catch (error) {
            this.stopped = error.name === 'AbortError';
            this.error = this.stopped ? '' : errorWords(error);
        }
        this.active = false;
        this.onChange(this);
    }

    // What is there is only continued if it came from this very file.
    async #firstOffset(stored) {
        if (!stored)
            return 0;
        if (stored.complete)
            throw new Error(`There is an image ${this.name} already. Delete it first.`);
        const before = rememberedUpload(this.name);
        if (stored.size === this.file.size && before?.size === this.file.size && before.lastModified === this.file.lastModified)
            return this.#api.uploadOffset(this.name, this.#abort.signal);
        await this.#api.deleteUpload(this.name);
        return 0;
    }

    async #sendAll() {
        let failures = 0;
        while (this.offset < this.file.size) {
            const before = this.offset;
            try {
                await this.#sendPiece();
            } catch (error) {
                if (this.#halve(error))
                    continue;
                await this.#seeFile(error);
                if (error.status === 401) {
                    await this.#api.nextLogin(this.#abort.signal);
                    failures = 0;
                } else if (!mayPass(error) || failures + 1 >= TRIES) {
                    throw error;
                } else {
                    await this.#pause(FIRST_PAUSE_MS * 2 ** failures);
                }
                this.offset = await this.#api.uploadOffset(this.name, this.#abort.signal).catch((again) => {
                    if (again.status === 0 || again.status === 401)
                        return this.offset;
                    throw again;
                });
            }
            failures = this.offset > before ? 0 : failures + 1;
            this.onChange(this);
        }
    }

    /** A proxy in front said that the piece is too large: smaller ones may do. */
    #halve(error) {
        if (error.status !== 413 || error.ours || this.#piece <= PIECE_LEAST)
            return false;
        this.#piece = this.#pieceMax = Math.floor(Math.min(this.#piece, this.file.size - this.offset) / 2);
        return true;
    }

    /** Where a request failed the browser does not say whether the line or the file was the cause. */
    async #seeFile(error) {
        if (error.status !== 0)
            return;
        try {
            await this.file.slice(this.offset, this.offset + 1).arrayBuffer();
        } catch {
            throw new Error(`${this.name} was changed, moved or removed while it was sent. Pick it again.`);
        }
    }

    async #sendPiece() {
        const start = performance.now();
        const piece = this.file.slice(this.offset, this.offset + this.#piece);
        await this.#api.putPiece(this.name, piece, this.offset, this.file.size, this.#abort.signal);
        this.offset += piece.size;
        const wanted = this.#piece * PIECE_MS / Math.max(performance.now() - start, 1);
        this.#piece = Math.round(Math.min(this.#pieceMax, Math.max(PIECE_MIN, Math.min(wanted, this.#piece * 2))));
    }

    #pause(ms) {
        const { signal } = this.#abort;
        return new Promise((resolve, reject) => {
            signal.throwIfAborted();
            const timer = setTimeout(resolve, ms);
            signal.addEventListener('abort', () => {
                clearTimeout(timer);
                reject(signal.reason);
            }, { once: true });
        });
    }
}

// 409: the BMC has another piece in mind; it is asked which.
function mayPass(error) {
    return error.status === 0 || error.status === 409 || error.status === 429 || (error.status >= 500 && error.status !== 507);
}
