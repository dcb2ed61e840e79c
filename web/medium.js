/**
 * A file of this browser as the medium of a slot: asks for a ticket, serves,
 * comes back when the connection is lost, and says in words how it ended.
 */

import { NbdServer } from './nbd-server.js';
import { errorWords, sentence } from './text.js';

const SAMPLES = 8; // pieces, spread evenly, the first and the last bytes among them
const SAMPLE_SIZE = 64 << 10; // bytes of each
const RECONNECT_MS = 60_000; // for that long it is tried again
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 8000;
const LOST = new Set([1001, 1005, 1006, 1012]); // the connection went, not the medium
const BUSY = 1013; // while coming back: the daemon has not yet missed the old connection

/** @typedef {import('./nbd-server.js').Source} Source */
/**
 * @typedef {{name: string, size: number, lastModified: number, kernelArgs?: string, menuTimeout?: number,
 *     menuDefault?: string}} Identity and what is changed of its boot configurations
 */

/** SHA-256 of pieces of the source, as hex. Empty where the browser has no crypto (plain HTTP). */
export async function sampleHashes(source) {
    if (!globalThis.crypto?.subtle)
        return [];
    const length = Math.min(SAMPLE_SIZE, source.size);
    const count = source.size > length ? SAMPLES : 1;
    const hashes = [];
    for (let i = 0; i < count; i++) {
        const offset = count === 1 ? 0 : Math.floor((source.size - length) * i / (count - 1));
        const hash = await crypto.subtle.digest('SHA-256', await source.read(offset, length));
        hashes.push(Array.from(new Uint8Array(hash), (byte) => byte.toString(16).padStart(2, '0')).join(''));
    }
    return hashes;
}

/** Why a WebSocket closed, for people. */
export function closeWords(code, reason) {
    const words = {
        1000: 'Ejected',
        1001: 'The BMC ended the connection',
        1002: 'The BMC found fault with the protocol',
        1006: 'The connection was lost',
        1008: 'Not allowed',
        1009: 'A message was too large',
        1011: 'The BMC had a failure',
        1012: 'The BMC is restarting',
        1013: 'The slot is busy',
    }[code];
    if (words)
        return sentence(reason && reason !== words.toLowerCase() ? `${words}: ${reason}` : words);
    return sentence(reason) || `The connection was closed with code ${code}.`;
}

export class Medium {
    #api;
    #slot;
    #samples = null;
    #server = null;
    #stopped = false;
    #served = false; // at least once
    #instance = ''; // of the daemon that it was served to
    #lostAt = 0;
    #pause = FIRST_PAUSE_MS;
    #timer = null;
    #sentBefore = 0; // by earlier connections
    #readError = '';
    /** @type {'connecting'|'serving'|'reconnecting'|'ended'} */
    state = 'connecting';
    /** @type {{code: number, words: string}} valid when ended */
    end = { code: 0, words: '' };

    /**
     * @param {import('./api.js').Api} api
     * @param {string} slot its name
     * @param {Source} source
     * @param {Identity} identity
     * @param {(medium: Medium) => void} onChange of the state
     */
    constructor(api, slot, source, identity, onChange) {
        this.#api = api;
        this.#slot = slot;
        this.source = source;
        this.identity = identity;
        this.onChange = onChange;
    }

    start() {
        this.#connect();
    }

    /** Ends it from this side. */
    stop() {
        this.#stopped = true;
        clearTimeout(this.#timer);
        if (this.#server)
            this.#server.stop(1000, 'stopped in the browser');
        else
            this.#finish(1000, '');
    }

    /** Bytes sent to the BMC, over all its connections. */
    get sentBytes() {
        return this.#sentBefore + (this.#server?.stats.readBytes ?? 0);
    }

    /** Why the last read failed here, or ''. */
    get readError() {
        return this.#server?.stats.lastError || this.#readError;
    }

    get active() {
        return this.state !== 'ended';
    }

    /** Has the BMC ever taken it? */
    get taken() {
        return this.#served;
    }

    async #connect() {
        let ticket;
        try {
            if (this.#served && !await this.#stillWanted())
                return this.#finish(0, 'The connection was lost, and the slot was emptied meanwhile.');
            this.#samples ??= await sampleHashes(this.source);
            ticket = await this.#api.ticket(this.#slot, { ...this.identity, samples: this.#samples });
        } catch (error) {
            if (this.#served && (error.status === 0 || error.status === 409 || error.status === 401))
                return this.#tryAgain(1006, '');
            if (error.status === 401 && !this.#stopped)
                return this.#api.nextLogin().then(() => this.#connect());
            return this.#finish(0, errorWords(error));
        }
        if (this.#stopped)
            return this.#finish(1000, '');
        let serving = false;
        this.#server = new NbdServer(ticket.url, this.source, {
            protocols: [ticket.protocol],
            onState: (state, detail) => {
                if (state === 'serving') {
                    serving = this.#served = true;
                    this.#pause = FIRST_PAUSE_MS;
                    this.#lostAt = 0;
                    this.#api.look().then(({ instance }) => { this.#instance = instance; }, () => {});
                    this.#change('serving');
                } else if (state === 'closed') {
                    this.#onClosed(detail, serving);
                }
            },
        });
        this.#server.start();
    }

    // Somebody else may have ejected it while the connection was down; a daemon that was started anew has no medium yet.
    async #stillWanted() {
        const { slots, instance } = await this.#api.look();
        const anew = this.#instance && instance !== this.#instance;
        return slots.some((slot) => slot.name === this.#slot && (slot.state !== 'empty' || anew));
    }

    #onClosed({ code, reason }, serving) {
        this.#sentBefore = this.sentBytes;
        this.#readError = this.readError;
        this.#server = null;
        const comesBack = LOST.has(code) || (code === BUSY && !serving);
        if (this.#served && comesBack && !this.#stopped)
            return this.#tryAgain(code, reason);
        if (code === 1006 && !serving && !reason)
            reason = 'the WebSocket could not be opened';
        this.#finish(code, reason);
    }

    #tryAgain(code, reason) {
        this.#lostAt ||= Date.now();
        if (this.#stopped || Date.now() - this.#lostAt > RECONNECT_MS)
            return this.#finish(code, reason);
        this.#change('reconnecting');
        this.#timer = setTimeout(() => this.#connect(), this.#pause);
        this.#pause = Math.min(this.#pause * 2, LONGEST_PAUSE_MS);
    }

    #finish(code, reason) {
        if (this.state === 'ended')
            return;
        this.end = { code, words: code ? closeWords(code, reason) : reason };
        this.#change('ended');
    }

    #change(state) {
        this.state = state;
        this.onChange(this);
    }
}
