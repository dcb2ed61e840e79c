/**
 * The slots' state as it changes, by one event stream for all tabs of this origin: a browser makes six connections
 * to a server that speaks HTTP/1.1, so a stream for each tab would leave the seventh without an answer.
 *
 * The tab that holds the Web Lock has the stream, and tells the others by a BroadcastChannel; when it goes, the next
 * one has the lock. Without either (an old browser, a page that is not secure) a tab has a stream of its own.
 *
 * The daemon says something every 15 s. A tab in sight that hears nothing for too long (a proxy holds the stream back,
 * the line is cut, the tab that has the stream sleeps) asks for the slots until it hears again, and takes the lock.
 */

const NAME = 'nbd-proxy-slots';
const TICK_MS = 1000;
const START_MS = 5000;
const SILENT_MS = 35_000;
const AGAIN_MS = 3000; // to the next question, and to the next stream after one that was refused
const ANSWER_MS = 10_000;

/** @typedef {import('./api.js').Slot} Slot */

export class SlotEvents {
    #ask;
    #parse;
    #onSlots;
    #onConnected;
    #channel = null;
    #stream = null;
    #again = 0; // timer of the next stream
    #ended = false;
    #steal = false;
    #letGo = () => {}; // of the lock
    #stopWaiting = () => {}; // for the lock
    #last = null; // what was told last
    #away = false; // a question had no answer
    #crowded = ''; // why there is no stream, and the slots are asked for
    #heard = performance.now();
    #patience = START_MS;
    #tried = performance.now(); // to have a stream, or the lock
    #asked = 0;
    #timer;

    /**
     * @param {(signal: AbortSignal) => Promise<Slot[]>} ask once
     * @param {(text: string) => Slot[]} parse an event's data
     * @param {(slots: Slot[]) => void} onSlots
     * @param {(connected: boolean, away: boolean, crowded: string) => void} onConnected `away`: who asked had no answer
     *     either; `crowded`: why there is no stream
     */
    constructor(ask, parse, onSlots, onConnected) {
        this.#ask = ask;
        this.#parse = parse;
        this.#onSlots = onSlots;
        this.#onConnected = onConnected;
        this.#timer = setInterval(() => this.#tick(), TICK_MS);
        if (navigator.locks && globalThis.BroadcastChannel) {
            this.#channel = new BroadcastChannel(NAME);
            this.#channel.onmessage = ({ data }) => this.#onTold(data);
            this.#channel.postMessage({ ask: true });
            this.#queue();
        } else {
            this.#open();
        }
        this.#poll(); // a proxy may hold the first event back
    }

    close() {
        this.#ended = true;
        clearInterval(this.#timer);
        this.#close();
        this.#channel?.close();
        this.#letGo();
        this.#stopWaiting();
    }

    // --- who has the stream ---

    async #queue() {
        while (!this.#ended) {
            const wait = new AbortController();
            const how = this.#steal ? { steal: true } : { signal: wait.signal };
            this.#steal = false;
            this.#stopWaiting = () => wait.abort();
            try {
                await navigator.locks.request(NAME, how, () => this.#hold());
            } catch (error) { // AbortError: another tab took it, or this one will not wait any longer
                if (error.name !== 'AbortError')
                    return this.#open();
            }
            this.#close();
        }
    }

    #hold() {
        if (this.#ended)
            return null;
        this.#open();
        return new Promise((resolve) => { this.#letGo = resolve; });
    }

    // --- the stream ---

    #open() {
        this.#close();
        if (this.#ended)
            return;
        this.#tried = performance.now();
        const stream = new EventSource('api/events');
        stream.addEventListener('slots', ({ data }) => this.#tell({ slots: this.#parse(data) }));
        stream.addEventListener('alive', () => this.#tell({ alive: true }));
        stream.onerror = () => this.#onError(stream);
        this.#stream = stream;
    }

    #close() {
        clearTimeout(this.#again);
        this.#stream?.close();
        this.#stream = null;
    }

    #onError(stream) {
        if (stream.readyState !== EventSource.CLOSED) {
            this.#tell({ connected: false }); // it comes back by itself
            return;
        }
        this.#again = setTimeout(() => this.#open(), AGAIN_MS);
        this.#askWhy().then((why) => this.#tell(why)).then(() => this.#poll());
    }

    /** EventSource does not say why it was refused. */
    async #askWhy() {
        const asks = new AbortController();
        try {
            const answer = await fetch('api/events', { signal: asks.signal });
            return answer.status === 503 ? { crowded: (await answer.json()).error } : { connected: answer.ok };
        } catch {
            return { connected: false };
        } finally {
            asks.abort(); // what is open now is no EventSource
        }
    }

    // --- what is heard ---

    #tell(what) {
        this.#channel?.postMessage(what);
        this.#onTold(what);
    }

    #onTold(what) {
        if (this.#ended)
            return;
        if (what.ask) {
            if (this.#stream && this.#last)
                this.#channel.postMessage(this.#last);
            return;
        }
        this.#patience = what.connected === false || what.crowded ? 0 : SILENT_MS;
        if (what.crowded || what.slots)
            this.#crowded = what.crowded ?? '';
        this.#heard = performance.now();
        if (!what.alive)
            this.#last = what;
        this.#show(what);
    }

    #show({ slots, connected = true, away = false }) {
        this.#away = !connected && (away || this.#away); // that a stream ends is no answer
        this.#onConnected(connected, this.#away, connected ? this.#crowded : '');
        if (slots && !this.#ended)
            this.#onSlots(slots);
    }

    // --- when nothing is heard ---

    #tick() {
        const now = performance.now();
        if (document.visibilityState !== 'visible' || now - this.#heard < this.#patience)
            return;
        if (now - this.#asked >= AGAIN_MS)
            this.#poll();
        if (now - Math.max(this.#heard, this.#tried) < SILENT_MS)
            return;
        this.#tried = now;
        if (this.#stream || !this.#channel) {
            this.#open();
        } else {
            this.#steal = true;
            this.#stopWaiting();
        }
    }

    async #poll() {
        const asked = performance.now();
        this.#asked = asked;
        const answer = await this.#ask(AbortSignal.timeout?.(ANSWER_MS)).then((slots) => ({ slots }), () => ({ connected: false, away: true }));
        const late = this.#ended || this.#asked !== asked || (this.#patience > 0 && this.#heard > asked);
        if (!late && (answer.slots || this.#patience < SILENT_MS || asked - this.#heard >= SILENT_MS))
            this.#show(answer);
    }
}
