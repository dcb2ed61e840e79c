/**
 * The page's view of the daemon: every request that the page makes is here.
 *
 * All paths are on the page's own origin, bodies are JSON in UTF-8. The page asks for them relative to itself, so that a
 * proxy may have it below a path of its own, which it takes away. An error is a
 * 4xx or 5xx with {"error": words for people}. A session is an HttpOnly cookie;
 * every request but GET and HEAD carries X-CSRF-Token, except the login itself.
 *
 *   POST   /api/session {"user","password"} -> {"user","role","csrf","endsIn","serves"} and the cookie; 401. A session that
 *          the browser has of that user goes on, with another token: what is served by it stays.
 *          endsIn: seconds until it is too old (a medium outlives that); serves: {"media": [{"slot","name"}], "uploads":
 *          [name]}, what goes on by this session, in whatever tab. certificate {"sha256","own","expires"}: of the BMC's HTTPS,
 *          which "own" says it signed itself; sha256 is "" where a proxy has its own
 *   GET    /api/session                     -> the same; 401 without a session
 *   DELETE /api/session                     the session, and the WebSockets made with it, end
 *   role is "Administrator", "Operator" or "ReadOnly".
 *
 *   GET  /api/slots -> {"slots": [SLOT...], "instance": another text after each start of the daemon}
 *   GET  /api/slots/NAME/heat -> {"size", "buckets": [0..255, ...]}: equal parts of the image, how much
 *        of each the host has read
 *   POST /api/slots/NAME/insert {"url","user","password","verify","writable","kernelArgs","menuTimeout",
 *        "menuDefault","imageFiles","networkData","networkKind","configFiles","configKind","configLabel","serial","uuid","mac","replace"}: 200 when the
 *        image is readable. configFiles, an object of names and contents, is in place of url; see nbd-proxy-control(7).
 *        With "dryRun": true nothing is inserted, and the answer is {"changes": a diff}. menuTimeout: seconds that the image's boot menus wait;
 *        menuDefault: the entry that they boot then; imageFiles: an object of what else is changed on it. A stored image has the url "upload:NAME" (percent-encoded).
 *   POST /api/slots/NAME/eject
 *   GET  /api/slots/NAME/medium: what is in as the host sees it, with what it wrote; Range
 *   POST /api/slots/NAME/dismiss: the failed reads and the last error are told no more
 *   POST /api/slots/NAME/ticket {"name","size","lastModified","samples","kernelArgs","menuTimeout","menuDefault"} -> {"url","protocol"}
 *        url is the WebSocket's, protocol the subprotocol to offer; good for one connection and a short
 *        time. lastModified is in ms since 1970. samples are SHA-256 in hex of pieces of the image (see
 *        medium.js): equal name, size, lastModified and samples are the same image coming back.
 *   GET  /api/events -> text/event-stream; event "slots" has the body of GET /api/slots as its data, at
 *        once and after a change, at most one a second; event "alive" after 15 s without one
 *
 *   GET    /api/uploads -> {"uploads": [{"name","size","offset","complete","sha256","modified"}], "free"}
 *   PUT    /api/uploads/NAME with "Content-Range: bytes FIRST-LAST/SIZE", pieces in order; 200 or 201.
 *          409: not the piece that comes next, a complete one has the name, or another request
 *          uploads it; one that is silent for 3 s gives way to the same user's next. 413, 507: no room
 *   GET    /api/uploads/NAME: the image; Range
 *   POST   /api/uploads/NAME {"size","label"}: an empty USB stick (FAT32) of so many bytes is made there; 201, 409, 413, 507
 *   HEAD   /api/uploads/NAME -> Upload-Offset: how many bytes are there; 404: none
 *   DELETE /api/uploads/NAME
 *
 * The WebSocket closes with 1000 for an ordinary eject, 1008 not allowed, 1011 failure, 1013 busy, or
 * 4000 and above, and a reason in words.
 */

import { SlotEvents } from './slot-events.js';
import { ownWords, sentence } from './text.js';

/**
 * @typedef {object} Slot
 * @property {string} name
 * @property {number} index
 * @property {'cd'|'disk'} media
 * @property {string} state empty, opening, attaching, ready, waiting, detaching, closing
 * @property {string} image @property {string} imageName @property {number} size @property {boolean} writable
 * @property {'uri'|'applet'|'none'} connectedVia
 * @property {string} error the last failure in words, or ''
 * @property {string} warning what makes one doubt that it is a medium, or ''
 * @property {{image: string, tries: number, inSeconds: number}|null} awaited what could not be put in yet and is tried
 *           again then (0: now)
 * @property {boolean} failing the medium is in, and can't be read for now; `error` says why
 * @property {{seconds: number, offset: number, length: number}|null} hostWaits the read that the host has waited for longest
 * @property {{count: number, offset: number, length: number, waitedMs: number, time: string, why: string}|null} failedReads
 *           of which nobody has taken note; all but the count is of the last
 * @property {{readBytes: number, bytes: number, meanRate: number, reads: number, readsWaited: number, rttUs: number,
 *             cached: number}} stats meanRate: bytes a second since the insert; reads: of the medium; rttUs 0: not measured
 * @property {string} websocket
 * @property {number} errorAt seconds since 1970, of the last failure; 0: none
 * @property {number} written bytes that the host wrote and that are not in the image itself
 * @property {boolean} writtenStays they are there again at the next insert of the image; else the eject throws them away
 * @property {string} by who inserted what is in, or ''
 */

/** @typedef {{name: string, size: number, offset: number, complete: boolean, sha256: string, modified: number}} Upload */

/** @typedef {{user: string, role: string, csrf: string, endsIn?: number,
 *     serves?: {media: {slot: string, name: string}[], uploads: string[]}}} Session */

/** A request that failed. status is 0 when there was no answer; `ours`: the daemon said so, and not a proxy before it. */
export class ApiError extends Error {
    constructor(status, text, ours = false) {
        super(text);
        this.status = status;
        this.ours = ours;
    }
}
ownWords.add(ApiError);

const NO_ANSWER = 'The BMC does not answer.';

export class Api {
    #csrf = '';
    #loggedIn = new EventTarget();
    /** Called when the session turns out to have ended. */
    onSessionEnded = () => {};

    // --- session ---

    async login(user, password) {
        return this.#keepSession(await this.#send('POST', 'api/session', { json: { user, password }, login: true }));
    }

    /** The session that a reload finds again; null if there is none. */
    async session() {
        try {
            return await this.#keepSession(await this.#send('GET', 'api/session', { login: true }));
        } catch (error) {
            if (error.status === 401)
                return null;
            throw error;
        }
    }

    async logout() {
        await this.#send('DELETE', 'api/session', { login: true });
        this.#csrf = '';
    }

    async #keepSession(response) {
        const session = await response.json();
        this.#csrf = session.csrf;
        this.#loggedIn.dispatchEvent(new Event('session'));
        return session;
    }

    /** Resolves when somebody has logged in again. */
    nextLogin(signal) {
        return new Promise((resolve, reject) => {
            signal?.throwIfAborted();
            this.#loggedIn.addEventListener('session', resolve, { once: true, signal });
            signal?.addEventListener('abort', () => reject(signal.reason), { once: true });
        });
    }

    // --- slots ---

    /** @returns {Promise<Slot[]>} */
    async slots(signal) {
        return slotsOf(await this.#json('GET', 'api/slots', { signal }));
    }

    /** @returns {Promise<{slots: Slot[], instance: string}>} */
    async look() {
        const answer = await this.#json('GET', 'api/slots');
        return { slots: slotsOf(answer), instance: answer.instance };
    }

    heat(name) {
        return this.#json('GET', `${slotPath(name)}/heat`);
    }

    /** How the boot from the slot's medium, or from its last one, went; null: nothing is known. */
    async report(name) {
        return (await this.#json('GET', `${slotPath(name)}/report`)).report;
    }

    /** Where what was read of the slot's medium can be had, for an insert elsewhere. */
    profilePath(name) {
        return `${slotPath(name)}/profile`;
    }

    /** Where the medium is to be had as the host sees it. */
    mediumPath(name) {
        return `${slotPath(name)}/medium`;
    }

    uploadPath(name) {
        return uploadPath(name);
    }

    /**
     * @param {{url: string, user?: string, password?: string, verify?: boolean, writable?: boolean, profile?: string, kernelArgs?: string,
     *     menuTimeout?: number, dryRun?: boolean, configFiles?: object, configKind?: string, serial?: string, mac?: string}} what
     *     `profile`: the URL of a boot profile
     * @returns {Promise<{changes?: string, warning?: string}>}
     */
    insert(name, what) {
        return this.#json('POST', `${slotPath(name)}/insert`, { json: what });
    }

    insertUpload(name, upload, more) {
        return this.insert(name, { url: `upload:${encodeURIComponent(upload)}`, ...more });
    }

    async eject(name) {
        await this.#send('POST', `${slotPath(name)}/eject`, { json: {} });
    }

    async dismiss(name) {
        await this.#send('POST', `${slotPath(name)}/dismiss`, { json: {} });
    }

    /** @returns {Promise<{url: string, protocol: string}>} the url is relative to the page */
    async ticket(name, identity) {
        const { url, protocol } = await this.#json('POST', `${slotPath(name)}/ticket`, { json: identity });
        return { url: url.replace(/^\//, ''), protocol };
    }

    /**
     * What changes, by the one stream that all tabs share.
     *
     * @param {(slots: Slot[]) => void} onSlots
     * @param {(connected: boolean, away: boolean, crowded: string) => void} onConnected `away`: it does not answer either
     * @returns {() => void} ends it
     */
    events(onSlots, onConnected) {
        const events = new SlotEvents((signal) => this.slots(signal), (text) => slotsOf(JSON.parse(text)), onSlots, onConnected);
        return () => events.close();
    }

    // --- uploads ---

    /** @returns {Promise<{uploads: Upload[], free: number}>} */
    uploads() {
        return this.#json('GET', 'api/uploads');
    }

    async putPiece(name, piece, offset, size, signal) {
        const range = `bytes ${offset}-${offset + piece.size - 1}/${size}`;
        await this.#send('PUT', uploadPath(name), { body: piece, headers: { 'Content-Range': range }, signal });
    }

    /** How many bytes the BMC has of it. */
    async uploadOffset(name, signal) {
        try {
            const response = await this.#send('HEAD', uploadPath(name), { signal });
            return Number(response.headers.get('Upload-Offset'));
        } catch (error) {
            if (error.status === 404)
                return 0;
            throw error;
        }
    }

    makeStick(name, size, label) {
        return this.#json('POST', uploadPath(name), { json: { size, label } });
    }

    async deleteUpload(name) {
        await this.#send('DELETE', uploadPath(name), {});
    }

    // --- transport ---

    async #json(method, path, options = {}) {
        return (await this.#send(method, path, options)).json();
    }

    async #send(method, path, options) {
        const csrf = this.#csrf;
        try {
            return await this.#sendOnce(method, path, options);
        } catch (error) {
            const changes = method !== 'GET' && method !== 'HEAD';
            if (error.status !== 403 || !changes || options.login)
                throw error;
            await this.session(); // another tab may have logged in: the cookie is that one's
            if (this.#csrf === csrf)
                throw error;
            return this.#sendOnce(method, path, options);
        }
    }

    async #sendOnce(method, path, { json, body, headers = {}, signal, login = false }) {
        const all = { ...headers };
        const csrf = this.#csrf; // of the session that asks
        if (json)
            all['Content-Type'] = 'application/json';
        if (method !== 'GET' && method !== 'HEAD' && this.#csrf)
            all['X-CSRF-Token'] = this.#csrf;
        let response;
        try {
            response = await fetch(path, {
                method, headers: all, body: json ? JSON.stringify(json) : body, signal,
                credentials: 'same-origin', cache: 'no-store', redirect: 'error',
            });
        } catch (error) {
            if (error.name === 'AbortError')
                throw error;
            throw new ApiError(0, NO_ANSWER);
        }
        if (response.ok)
            return response;
        const { words, ours } = await errorText(response);
        const failure = new ApiError(response.status, path.startsWith('api/slots') ? sentence(words) : words, ours);
        if (response.status === 401 && !login && csrf === this.#csrf)
            this.onSessionEnded();
        throw failure;
    }
}

function slotsOf({ slots }) {
    return slots.map(({ failedReads, ...slot }) => ({
        ...slot, error: sentence(slot.error), failedReads: failedReads && { ...failedReads, why: sentence(failedReads.why) },
    }));
}

async function errorText(response) {
    try {
        const { error } = await response.json();
        if (error)
            return { words: String(error), ours: true };
    } catch { /* not JSON: a front proxy's page, or HEAD */ }
    return { words: `The BMC answered ${response.status} ${response.statusText}`.trim() + '.', ours: false };
}

function slotPath(name) {
    return `api/slots/${encodeURIComponent(name)}`;
}

function uploadPath(name) {
    return `api/uploads/${encodeURIComponent(name)}`;
}
