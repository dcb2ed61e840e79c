/**
 * NbdSession: the server's side of NBD without a transport. Fixed newstyle,
 * simple replies, one export; every name means it.
 */

import {
    CMD, FIXED_NEWSTYLE, INFO, MAGIC, MAX_REQUEST, NO_ZEROES, NbdError, OPT, OPTION_MAGIC, OPTION_REPLY_MAGIC,
    OPTION_SIZE, REP, REPLY_MAGIC, REPLY_SIZE, REQUEST_MAGIC, REQUEST_SIZE, TX, blockSizes, decodeInfo, infoText,
    listEntry, message, viewOf,
} from './nbd-wire.js';

/**
 * What is served. `read` answers exactly `length` bytes or rejects; it is never
 * asked beyond `size`. Several reads may be under way, in any order.
 * @typedef {object} Source
 * @property {number} size in bytes
 * @property {boolean} readOnly
 * @property {string} [name] shown to a client that asks for a description
 * @property {(offset: number, length: number) => Promise<ArrayBuffer>} read
 * @property {(offset: number, data: Uint8Array) => Promise<void>} [write] needed unless readOnly
 * @property {() => Promise<void>} [flush] what was written before is on the disk when this resolves
 */

/**
 * @typedef {object} Stats
 * @property {number} requests answered
 * @property {number} readBytes sent to the client
 * @property {number} writtenBytes
 * @property {number} errors replies that told of an error
 * @property {number} inFlight requests that wait or are under way
 * @property {string} lastError in words, '' if none
 */

/**
 * Bounds, all for one session. A client that goes beyond `waiting` or
 * `waitingBytes` is cut off: a WebSocket can't be told to stop reading.
 * @typedef {object} Limits
 * @property {number} requests under way at a time
 * @property {number} bytes being read or written at a time (one request may be larger alone)
 * @property {number} buffered bytes in the WebSocket, above which no read is begun
 * @property {number} waiting requests that are not begun
 * @property {number} waitingBytes of payload of writes that are not begun
 */
export const DEFAULT_LIMITS = Object.freeze({
    requests: 16,
    bytes: 8 << 20,
    buffered: 16 << 20,
    waiting: 1024,
    waitingBytes: 64 << 20,
});

const MAX_OPTION = 64 << 10; // bytes of one option's data
const MAX_OPTIONS = 64; // in one session
const MAX_NAME = 4096; // bytes; proto.md, "Values"
const STALLED_MS = 20; // between looks at a WebSocket that is full; it has no event for that

/** The close code for a client that does not speak NBD or goes beyond the bounds. */
export const CLOSE_PROTOCOL_ERROR = 4000;

/**
 * @typedef {object} Output where a session's bytes go
 * @property {(message: Uint8Array) => void} send
 * @property {() => number} buffered bytes that were sent and have not left
 * @property {(code: number, reason: string) => void} close ends the transport; the session is over
 * @property {() => void} [serving] the handshake is done
 * @property {(stats: Stats) => void} [progress] after each reply
 */

/** The server's side of one NBD connection, from the greeting to the end. */
export class NbdSession {
    #source;
    #output;
    #limits;
    #header = new Uint8Array(REQUEST_SIZE);
    #target = null; // where the bytes that come next go; null: nowhere
    #missing = 0; // how many of them
    #then = null; // what to do when they are there
    #options = 0;
    #noZeroes = false;
    #waiting = []; // requests not begun, oldest first
    #waitingBytes = 0;
    #running = 0;
    #runningBytes = 0;
    #written = false; // anything at all
    #ending = false; // no more input; closes when all is answered
    #over = false;
    #timer = null;
    /** @type {Stats} */
    stats = { requests: 0, readBytes: 0, writtenBytes: 0, errors: 0, inFlight: 0, lastError: '' };

    /**
     * @param {Source} source
     * @param {Output} output
     * @param {Partial<Limits>} [limits]
     */
    constructor(source, output, limits) {
        this.#source = source;
        this.#output = output;
        this.#limits = { ...DEFAULT_LIMITS, ...limits };
    }

    /** Sends the greeting: the server speaks first. */
    start() {
        const { bytes, view } = message(18);
        view.setBigUint64(0, MAGIC);
        view.setBigUint64(8, OPTION_MAGIC);
        view.setUint16(16, FIXED_NEWSTYLE | NO_ZEROES);
        this.#expectHeader(4, this.#onClientFlags);
        this.#output.send(bytes);
    }

    /**
     * Bytes from the client, any number of them. Each is copied once, to where it belongs.
     * @param {Uint8Array} bytes
     */
    input(bytes) {
        let at = 0;
        while (!this.#over && !this.#ending) {
            const part = Math.min(this.#missing, bytes.length - at);
            if (part && this.#target)
                this.#target.set(bytes.subarray(at, at + part), this.#target.length - this.#missing);
            at += part;
            this.#missing -= part;
            if (this.#missing)
                return;
            this.#then.call(this, this.#target);
        }
    }

    /** The transport is gone: no reply leaves any more; what was written is still flushed. */
    end() {
        if (this.#over)
            return;
        this.#forget();
        this.#flush().catch((error) => this.#note(error));
    }

    // --- input ---

    #expectHeader(length, then) {
        this.#expect(this.#header.subarray(0, length), length, then);
    }

    #expect(target, length, then) {
        this.#target = target;
        this.#missing = length;
        this.#then = then;
    }

    #fail(reason) {
        this.#close(CLOSE_PROTOCOL_ERROR, reason);
    }

    #close(code, reason) {
        this.end();
        this.#output.close(code, reason);
    }

    #forget() {
        this.#over = true;
        this.#waiting.length = 0;
        this.stats.inFlight = 0;
        clearTimeout(this.#timer);
    }

    // --- handshake ---

    #onClientFlags(bytes) {
        const flags = viewOf(bytes).getUint32(0);
        if (flags & ~(FIXED_NEWSTYLE | NO_ZEROES))
            return this.#fail('unknown client flags');
        this.#noZeroes = (flags & NO_ZEROES) !== 0;
        this.#expectHeader(OPTION_SIZE, this.#onOption);
    }

    #onOption(bytes) {
        const view = viewOf(bytes);
        const option = view.getUint32(8);
        const length = view.getUint32(12);
        if (view.getBigUint64(0) !== OPTION_MAGIC)
            return this.#fail('this is not an NBD option');
        if (++this.#options > MAX_OPTIONS)
            return this.#fail('too many NBD options');
        if (length > MAX_OPTION)
            return this.#fail(`an NBD option of ${length} bytes`);
        this.#expect(new Uint8Array(length), length, (data) => {
            this.#expectHeader(OPTION_SIZE, this.#onOption);
            this.#answerOption(option, data);
        });
    }

    #answerOption(option, data) {
        switch (option) {
        case OPT.EXPORT_NAME:
            if (data.length > MAX_NAME)
                return this.#fail('the name of the export is too long');
            this.#sendExport();
            return this.#serve();
        case OPT.ABORT:
            this.#sendOptionReply(option, REP.ACK);
            return this.#close(1000, '');
        case OPT.LIST:
            if (data.length)
                return this.#sendOptionReply(option, REP.INVALID);
            this.#sendOptionReply(option, REP.SERVER, listEntry('', this.#description()));
            return this.#sendOptionReply(option, REP.ACK);
        case OPT.INFO:
        case OPT.GO:
            return this.#answerInfo(option, data);
        default:
            return this.#sendOptionReply(option, REP.UNSUP);
        }
    }

    // There is one export, and every name means it.
    #answerInfo(option, data) {
        const wanted = decodeInfo(data);
        if (!wanted)
            return this.#sendOptionReply(option, REP.INVALID);
        if (wanted.nameLength > MAX_NAME)
            return this.#sendOptionReply(option, REP.TOO_BIG);
        const { bytes, view } = message(12);
        view.setUint16(0, INFO.EXPORT);
        view.setBigUint64(2, BigInt(this.#source.size));
        view.setUint16(10, this.#transmissionFlags());
        this.#sendOptionReply(option, REP.INFO, bytes);
        if (wanted.infos.has(INFO.NAME))
            this.#sendOptionReply(option, REP.INFO, infoText(INFO.NAME, ''));
        if (wanted.infos.has(INFO.DESCRIPTION) && this.#description())
            this.#sendOptionReply(option, REP.INFO, infoText(INFO.DESCRIPTION, this.#description()));
        if (wanted.infos.has(INFO.BLOCK_SIZE))
            this.#sendOptionReply(option, REP.INFO, blockSizes());
        this.#sendOptionReply(option, REP.ACK);
        if (option === OPT.GO)
            this.#serve();
    }

    #description() {
        return (this.#source.name ?? '').slice(0, MAX_NAME / 4);
    }

    #transmissionFlags() {
        return TX.HAS_FLAGS | (this.#source.readOnly ? TX.READ_ONLY : TX.SEND_FLUSH);
    }

    #sendExport() {
        const { bytes, view } = message(this.#noZeroes ? 10 : 134);
        view.setBigUint64(0, BigInt(this.#source.size));
        view.setUint16(8, this.#transmissionFlags());
        this.#output.send(bytes);
    }

    #sendOptionReply(option, type, data = new Uint8Array(0)) {
        const { bytes, view } = message(20 + data.length);
        view.setBigUint64(0, OPTION_REPLY_MAGIC);
        view.setUint32(8, option);
        view.setUint32(12, type);
        view.setUint32(16, data.length);
        bytes.set(data, 20);
        this.#output.send(bytes);
    }

    // --- transmission ---

    #serve() {
        this.#expectHeader(REQUEST_SIZE, this.#onRequest);
        this.#output.serving?.();
    }

    #onRequest(bytes) {
        const view = viewOf(bytes);
        if (view.getUint32(0) !== REQUEST_MAGIC)
            return this.#fail('this is not an NBD request');
        const request = {
            flags: view.getUint16(4),
            type: view.getUint16(6),
            cookie: view.getBigUint64(8),
            offset: view.getBigUint64(16),
            length: view.getUint32(24),
            cost: 0, // bytes of memory that it takes while it runs
            error: 0,
            data: null,
        };
        this.#expectHeader(REQUEST_SIZE, this.#onRequest);
        if (request.type === CMD.DISC) {
            this.#ending = true;
            return this.#maybeFinish();
        }
        request.error = this.#check(request);
        request.offset = Number(request.offset);
        if (request.type === CMD.WRITE)
            return this.#expectPayload(request);
        this.#queue(request);
    }

    #expectPayload(request) {
        if (!request.error && this.#waitingBytes + request.length > this.#limits.waitingBytes)
            return this.#fail('too many bytes of writes at a time');
        const target = request.error ? null : new Uint8Array(request.length);
        this.#expect(target, request.length, () => {
            request.data = target;
            this.#expectHeader(REQUEST_SIZE, this.#onRequest);
            this.#queue(request);
        });
    }

    /** 0 or an NBD error; sets the cost of a request that is fine. */
    #check(request) {
        const { type, flags, offset, length } = request;
        const moves = type === CMD.READ || type === CMD.WRITE;
        const writes = type === CMD.WRITE || type === CMD.TRIM || type === CMD.WRITE_ZEROES;
        if (writes && this.#source.readOnly)
            return NbdError.EPERM;
        if (!moves && type !== CMD.FLUSH)
            return NbdError.EINVAL; // and was not offered
        if (flags)
            return NbdError.EINVAL; // none was offered
        if (!moves)
            return 0;
        if (length > MAX_REQUEST)
            return NbdError.EINVAL;
        if (offset + BigInt(length) > BigInt(this.#source.size))
            return type === CMD.WRITE ? NbdError.ENOSPC : NbdError.EINVAL;
        request.cost = length;
        return 0;
    }

    #queue(request) {
        if (this.#waiting.length >= this.#limits.waiting)
            return this.#fail('too many requests at a time');
        this.#waiting.push(request);
        if (request.data)
            this.#waitingBytes += request.data.length;
        this.stats.inFlight++;
        this.#pump();
    }

    #mayBegin(request) {
        const { requests, bytes, buffered } = this.#limits;
        if (this.#running >= requests)
            return false;
        if (this.#running && this.#runningBytes + request.cost > bytes)
            return false;
        if (this.#output.buffered() < buffered)
            return true;
        this.#timer ??= setTimeout(() => {
            this.#timer = null;
            this.#pump();
        }, STALLED_MS);
        return false;
    }

    #pump() {
        while (!this.#over && this.#waiting.length && this.#mayBegin(this.#waiting[0])) {
            const request = this.#waiting.shift();
            if (request.data)
                this.#waitingBytes -= request.data.length;
            this.#run(request);
        }
    }

    async #run(request) {
        this.#running++;
        this.#runningBytes += request.cost;
        let data = null;
        try {
            data = await (request.error ? null : this.#perform(request));
        } catch (error) {
            request.error = errorNumber(error);
            this.#note(error);
        }
        this.#running--;
        this.#runningBytes -= request.cost;
        if (this.#over)
            return;
        this.stats.inFlight--;
        this.#reply(request, data);
        this.#pump();
        this.#maybeFinish();
    }

    async #perform({ type, offset, length, data }) {
        if (type === CMD.FLUSH)
            return this.#flush();
        if (type === CMD.WRITE) {
            this.#written = true;
            await this.#source.write(offset, data);
            this.stats.writtenBytes += length;
            return null;
        }
        const part = length ? await this.#source.read(offset, length) : new ArrayBuffer(0);
        if (part.byteLength !== length)
            throw new Error(`the source gave ${part.byteLength} of ${length} bytes at ${offset}`);
        this.stats.readBytes += length;
        return part;
    }

    async #flush() {
        if (this.#written)
            await this.#source.flush?.();
        return null;
    }

    #reply(request, data) {
        const { bytes, view } = message(REPLY_SIZE + (data ? data.byteLength : 0));
        view.setUint32(0, REPLY_MAGIC);
        view.setUint32(4, request.error);
        view.setBigUint64(8, request.cookie);
        if (data)
            bytes.set(new Uint8Array(data), REPLY_SIZE);
        this.#output.send(bytes);
        this.stats.requests++;
        if (request.error)
            this.stats.errors++;
        this.#output.progress?.(this.stats);
    }

    #note(error) {
        this.stats.lastError = String(error?.message || error);
    }

    // After DISC: all is answered, then what was written is flushed, then it ends.
    #maybeFinish() {
        if (!this.#ending || this.#over || this.#running || this.#waiting.length)
            return;
        this.#flush().catch((error) => this.#note(error)).then(() => this.#over || this.#close(1000, ''));
    }
}

function errorNumber(error) {
    if (Object.values(NbdError).includes(error?.nbdError))
        return error.nbdError;
    if (error?.name === 'QuotaExceededError')
        return NbdError.ENOSPC;
    return NbdError.EIO;
}

