/**
 * An NBD server in a browser: what `source` holds is offered to whoever is at
 * the other end of a WebSocket. Wire format: the NBD project's doc/proto.md,
 * fixed newstyle, simple replies; the server speaks first. One WebSocket
 * message leaves for each reply; what comes in is one stream of bytes, however
 * it is cut into messages. No dependency, nothing of nbd-proxy's page in it.
 *
 *     import { NbdServer, fileSource } from './nbd-server.js';
 *     const server = new NbdServer('/nbd/0', fileSource(file), {
 *         protocols: [ticket],
 *         onState: (state, detail) => console.log(state, detail),
 *     });
 *     server.start();
 *
 * NbdSession is the protocol without the WebSocket, for other transports and
 * for tests.
 */

import { CLOSE_PROTOCOL_ERROR, NbdSession } from './nbd-session.js';

export { NbdSession };
export { canWriteFiles, fileSource, handleSource } from './nbd-source.js';

/** @typedef {import('./nbd-session.js').Source} Source */
/** @typedef {import('./nbd-session.js').Stats} Stats */
/** @typedef {import('./nbd-session.js').Limits} Limits */

/**
 * @typedef {'idle'|'connecting'|'handshake'|'serving'|'closed'} State
 */

/**
 * @typedef {object} Options
 * @property {string[]} [protocols] WebSocket subprotocols
 * @property {(state: State, detail: {code?: number, reason?: string, clean?: boolean}) => void} [onState]
 * @property {(stats: Stats) => void} [onProgress] after each reply; do little in it
 * @property {Partial<Limits>} [limits]
 * @property {typeof WebSocket} [WebSocket] where the platform has none
 */

/** Serves one source over one WebSocket. A closed one is not started again: make another. */
export class NbdServer {
    #url;
    #options;
    #socket = null;
    #session;
    /** @type {State} */
    state = 'idle';

    /**
     * @param {string|URL} url ws:, wss:, http:, https:, or relative to the page
     * @param {Source} source
     * @param {Options} [options]
     */
    constructor(url, source, options = {}) {
        this.#url = webSocketUrl(url);
        this.#options = options;
        this.source = source;
        this.#session = new NbdSession(source, {
            send: (bytes) => this.#socket.send(bytes),
            buffered: () => this.#socket.bufferedAmount,
            close: (code, reason) => this.stop(code, reason),
            serving: () => this.#setState('serving', {}),
            progress: (stats) => options.onProgress?.(stats),
        }, options.limits);
    }

    /** @returns {Stats} */
    get stats() {
        return this.#session.stats;
    }

    /** Connects. What becomes of it comes by onState, 'closed' exactly once. */
    start() {
        if (this.state !== 'idle')
            throw new Error('an NbdServer starts once');
        this.#setState('connecting', {});
        const Socket = this.#options.WebSocket ?? globalThis.WebSocket;
        const { protocols } = this.#options;
        try {
            this.#socket = protocols?.length ? new Socket(this.#url, protocols) : new Socket(this.#url);
        } catch (error) { // a URL or protocol that the platform refuses
            queueMicrotask(() => this.#onClose({ code: 1006, reason: String(error.message), wasClean: false }));
            return;
        }
        this.#socket.binaryType = 'arraybuffer';
        this.#socket.onopen = () => {
            this.#setState('handshake', {});
            this.#session.start();
        };
        this.#socket.onmessage = ({ data }) => {
            if (typeof data === 'string')
                this.stop(CLOSE_PROTOCOL_ERROR, 'text where NBD is spoken');
            else
                this.#session.input(new Uint8Array(data));
        };
        this.#socket.onclose = (event) => this.#onClose(event);
    }

    /**
     * Ends it from this side. The code is 1000 or 3000 to 4999, the reason at most 123 bytes.
     * @param {number} [code]
     * @param {string} [reason]
     */
    stop(code = 1000, reason = '') {
        this.#session.end();
        if (this.state === 'idle')
            this.#onClose({ code, reason, wasClean: true });
        this.#socket?.close(code, reason);
    }

    #onClose({ code, reason, wasClean }) {
        if (this.state === 'closed')
            return;
        this.#session.end();
        this.#setState('closed', { code, reason, clean: wasClean });
    }

    #setState(state, detail) {
        this.state = state;
        this.#options.onState?.(state, detail);
    }
}

/**
 * A URL as a WebSocket takes it in browsers of every age.
 * @param {string|URL} url
 * @returns {string}
 */
export function webSocketUrl(url) {
    const absolute = new URL(url, globalThis.location?.href);
    absolute.protocol = { 'https:': 'wss:', 'http:': 'ws:' }[absolute.protocol] ?? absolute.protocol;
    return absolute.href;
}
