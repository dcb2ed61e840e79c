// A daemon for the page's tests: the API of web/api.js on plain HTTP, slots
// that are only told about, and a real NBD client on each WebSocket. By hand:
//     node test/web/mock.mjs [PORT]      log in as admin, password "right"

import { createHash, randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';

import { CLIENT_FLAGS, GREETING, READ, exportName, reply, request as nbdRequest } from './nbd_client.mjs';
import { WebSocketPeer } from './websocket.mjs';

const WEB = fileURLToPath(new URL('../../web/', import.meta.url));
const TYPES = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml' };
const CSP = "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'";
const USERS = {
    admin: { password: 'right', role: 'Administrator' },
    guest: { password: 'right', role: 'ReadOnly' },
};
const BUCKETS = 256;

const noStats = () => ({ readBytes: 0, bytes: 0, meanRate: 0, reads: 0, readsWaited: 0, rttUs: 0, cached: 0 });

/** The NBD client of one WebSocket; each reply must be one message. */
class NbdPeer {
    #socket;
    #cookie = 1n;
    #reads = new Map();
    #greeted = false;

    constructor(socket, onExport) {
        this.#socket = socket;
        this.onExport = onExport;
        socket.onMessage = (message) => this.#onMessage(message);
    }

    read(offset, length) {
        const cookie = this.#cookie++;
        const promise = new Promise((resolve, reject) => this.#reads.set(cookie, { length, resolve, reject }));
        this.#socket.send(nbdRequest({ type: READ, cookie, offset, length }));
        return promise;
    }

    fail() {
        for (const { reject } of this.#reads.values())
            reject(new Error('the connection is gone'));
        this.#reads.clear();
    }

    #onMessage(message) {
        if (!this.#greeted) {
            if (message.toString('hex') !== GREETING)
                throw new Error(`greeting ${message.toString('hex')}`);
            this.#greeted = true;
            this.#socket.send(Buffer.concat([CLIENT_FLAGS, exportName()]));
            return;
        }
        if (this.onExport) {
            const size = Number(message.readBigUInt64BE(0));
            const flags = message.readUInt16BE(8);
            const onExport = this.onExport;
            this.onExport = null;
            onExport(size, flags);
            return;
        }
        const { error, cookie, data } = reply(message);
        const { length, resolve, reject } = this.#reads.get(cookie);
        this.#reads.delete(cookie);
        if (!error && data.length !== length)
            throw new Error(`${data.length} of ${length} bytes`);
        if (error)
            reject(Object.assign(new Error(`NBD error ${error}`), { nbdError: error }));
        else
            resolve(Buffer.from(data));
    }
}

export class MockDaemon {
    static running = new Set();
    graceMs = 3000; // for a browser that went away
    free = 8 * 2 ** 30;
    slots = [];
    uploads = new Map(); // name -> {size, parts, offset}
    pieceDelayMs = 0;
    #uploadsHeld = Promise.resolve();
    releaseUploads = () => {};
    requests = []; // "METHOD path" of the API
    refuseTickets = '';
    failPieces = 0; // so many PUTs lose their connection
    #sessions = new Map(); // cookie -> {user, role, csrf}
    #tickets = new Map(); // protocol -> {slot, identity}
    #streams = new Set();
    #sockets = new Set();
    #server = createServer((request, response) => this.#onRequest(request, response));
    #pushed = null;

    constructor() {
        this.slots = [this.#newSlot('slot0', 0, 'cd'), this.#newSlot('slot1', 1, 'disk')];
        this.#server.on('upgrade', (request, socket) => this.#onUpgrade(request, socket));
        this.#server.on('connection', (socket) => {
            this.#sockets.add(socket);
            socket.on('close', () => this.#sockets.delete(socket));
        });
    }

    async start(port = 0) {
        await new Promise((resolve) => this.#server.listen(port, '127.0.0.1', resolve));
        this.#server.unref(); // the browser keeps a test alive
        MockDaemon.running.add(this);
        this.url = `http://127.0.0.1:${this.#server.address().port}/`;
        return this;
    }

    async stop() {
        for (const slot of this.slots)
            clearTimeout(slot.timer);
        for (const socket of this.#sockets)
            socket.destroy();
        await new Promise((resolve) => this.#server.close(resolve));
        MockDaemon.running.delete(this);
    }

    endSessions() {
        this.#sessions.clear();
        for (const stream of this.#streams)
            stream.destroy();
    }

    slot(name) {
        return this.slots.find((slot) => slot.public.name === name);
    }

    /** Changes what is told of a slot. */
    set(name, change) {
        Object.assign(this.slot(name).public, change);
        this.push();
    }

    push() {
        this.#pushed ??= setTimeout(() => {
            this.#pushed = null;
            for (const stream of this.#streams)
                stream.write(this.#event());
        }, 50);
    }

    /** The host reads: from the browser, and counted. It waits for a medium that is on its way, which a page may show as
     * ready since it has not heard of the last one's end. */
    async hostRead(name, offset, length) {
        const slot = this.slot(name);
        for (let tries = 0; slot.public.state !== 'ready' && tries < 1000; tries++)
            await new Promise((resolve) => setTimeout(resolve, 10));
        const data = await slot.nbd.read(offset, length);
        const { stats, size } = slot.public;
        stats.readBytes += length;
        stats.bytes += length;
        stats.misses++;
        for (let b = Math.floor(offset * BUCKETS / size); b <= Math.floor((offset + length - 1) * BUCKETS / size); b++)
            slot.heat[b] = 255;
        this.push();
        return data;
    }

    #newSlot(name, index, media) {
        return {
            public: { name, index, media, state: 'empty', image: '', imageName: '', size: 0, writable: false,
                connectedVia: 'none', error: '', failing: false, hostWaits: null, failedReads: null, awaited: null, stats: noStats(), websocket: `/nbd/${index}` },
            heat: new Array(BUCKETS).fill(0), report: null, socket: null, nbd: null, identity: null, timer: null,
        };
    }

    #event() {
        return `event: slots\ndata: ${JSON.stringify({ slots: this.slots.map((slot) => slot.public) })}\n\n`;
    }

    // --- HTTP ---

    async #onRequest(request, response) {
        const path = new URL(request.url, 'http://x').pathname;
        try {
            if (!path.startsWith('/api/'))
                return await this.#sendFile(path, response);
            this.requests.push(`${request.method} ${path}`);
            await this.#api(request, response, path);
        } catch (error) {
            answer(response, error.status ?? 500, { error: error.message });
        }
    }

    async #sendFile(path, response) {
        const name = normalize(path === '/' ? '/index.html' : path);
        const type = TYPES[extname(name)];
        const body = type && await readFile(join(WEB, name)).catch(() => null);
        if (!body)
            throw problem(404, 'no such file');
        response.writeHead(200, { 'Content-Type': type, 'Content-Security-Policy': CSP, 'X-Content-Type-Options': 'nosniff' });
        response.end(body);
    }

    async #api(request, response, path) {
        const [, , what, rawName, action] = path.split('/');
        const name = rawName && decodeURIComponent(rawName);
        if (what === 'session')
            return this.#apiSession(request, response);
        this.#checkSession(request);
        if (what === 'events')
            return this.#apiEvents(request, response);
        if (what === 'uploads')
            return this.#apiUploads(request, response, name);
        if (what !== 'slots')
            throw problem(404, 'no such thing');
        if (!name)
            return answer(response, 200, { slots: this.slots.map((slot) => slot.public) });
        const slot = this.slot(name) ?? (() => { throw problem(404, 'no such slot'); })();
        if (action === 'report')
            return answer(response, 200, { report: slot.report });
        if (action === 'heat')
            return answer(response, 200, { size: slot.public.size, buckets: slot.heat });
        const body = JSON.parse(await bodyOf(request));
        return this.#apiSlot(response, slot, action, body);
    }

    #cookie(request) {
        return /(?:^|; )SESSION=(\w+)/.exec(request.headers.cookie ?? '')?.[1];
    }

    #checkSession(request) {
        const session = this.#sessions.get(this.#cookie(request));
        if (!session)
            throw problem(401, 'not logged in');
        if (request.method !== 'GET' && request.method !== 'HEAD' && request.headers['x-csrf-token'] !== session.csrf)
            throw problem(403, 'wrong CSRF token');
        return session;
    }

    async #apiSession(request, response) {
        if (request.method === 'GET')
            return answer(response, 200, this.#checkSession(request));
        if (request.method === 'DELETE') {
            this.#checkSession(request);
            this.#sessions.delete(this.#cookie(request));
            return answer(response, 200, {});
        }
        const { user, password } = JSON.parse(await bodyOf(request));
        if (USERS[user]?.password !== password)
            throw problem(401, 'Wrong user or password.');
        const cookie = randomBytes(16).toString('hex');
        const session = { user, role: USERS[user].role, csrf: randomBytes(16).toString('hex') };
        this.#sessions.set(cookie, session);
        response.setHeader('Set-Cookie', `SESSION=${cookie}; HttpOnly; SameSite=Strict; Path=/`);
        answer(response, 200, session);
    }

    #apiEvents(request, response) {
        response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' });
        response.write(this.#event());
        this.#streams.add(response);
        response.on('close', () => this.#streams.delete(response));
    }

    async #apiSlot(response, slot, action, body) {
        if (action === 'eject') {
            this.#empty(slot, '');
            slot.socket?.close(1000, 'by the page');
        } else if (action === 'insert') {
            if (body.dryRun)
                return answer(response, 200, { changes: `+ linux /vmlinuz ${body.kernelArgs}\n` });
            await this.#insert(slot, body);
        } else if (action === 'ticket') {
            if (this.refuseTickets)
                throw problem(409, this.refuseTickets);
            const back = slot.public.state === 'waiting' && JSON.stringify(slot.identity) === JSON.stringify(body);
            if (slot.public.state !== 'empty' && !back)
                throw problem(409, 'The slot is not empty.');
            const protocol = randomBytes(12).toString('hex');
            this.#tickets.set(protocol, { slot, identity: body });
            return answer(response, 200, { url: slot.public.websocket, protocol });
        }
        answer(response, 200, {});
    }

    async #insert(slot, { url: given, password, writable, profile, kernelArgs, menuTimeout, ...config }) {
        const url = given ?? `config:${config.configKind}`;
        slot.inserted = { url, password, writable, profile, kernelArgs, menuTimeout };
        slot.config = config;
        this.set(slot.public.name, { state: 'opening', error: '', image: url, imageName: url.split('/').pop(), connectedVia: 'uri' });
        await new Promise((resolve) => setTimeout(resolve, 100));
        if (url.includes('missing')) {
            const error = 'the server answered 404 Not Found';
            this.#empty(slot, error);
            throw problem(502, error);
        }
        const upload = url.startsWith('upload:') && this.uploads.get(decodeURIComponent(url.slice(7)));
        this.set(slot.public.name, { state: 'ready', size: upload ? upload.size : 700 << 20, writable: Boolean(writable) });
    }

    #empty(slot, error) {
        clearTimeout(slot.timer);
        slot.heat.fill(0);
        slot.identity = null;
        this.set(slot.public.name, { state: 'empty', image: '', imageName: '', size: 0, connectedVia: 'none', writable: false, awaited: null,
            stats: noStats(), error });
    }

    // --- uploads ---

    /** Nothing is said of what is stored until releaseUploads(). */
    holdUploads() {
        this.#uploadsHeld = new Promise((resolve) => { this.releaseUploads = resolve; });
    }

    async #apiUploads(request, response, name) {
        await this.#uploadsHeld;
        const upload = this.uploads.get(name);
        if (!name)
            return answer(response, 200, { free: this.free, uploads: [...this.uploads].map(([n, u]) => this.#uploadRow(n, u)) });
        if (request.method === 'PUT')
            return this.#putPiece(request, response, name);
        if (!upload)
            throw problem(404, 'no such image');
        if (request.method === 'DELETE')
            this.uploads.delete(name);
        response.setHeader('Upload-Offset', upload.offset);
        answer(response, 200, {});
    }

    #uploadRow(name, { size, offset, parts }) {
        const complete = offset === size;
        const sha256 = complete ? createHash('sha256').update(Buffer.concat(parts)).digest('hex') : '';
        return { name, size, offset, complete, sha256, modified: 0 };
    }

    async #putPiece(request, response, name) {
        const [, first, last, size] = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(request.headers['content-range']).map(Number);
        const upload = this.uploads.get(name) ?? { size, offset: 0, parts: [] };
        if (this.failPieces > 0) {
            this.failPieces--;
            return request.socket.destroy();
        }
        const body = await bodyOf(request);
        await new Promise((resolve) => setTimeout(resolve, this.pieceDelayMs));
        if (request.socket.destroyed)
            return;
        if (first !== upload.offset || body.length !== last - first + 1 || size !== upload.size)
            throw problem(409, 'not the piece that comes next');
        upload.parts.push(body);
        upload.offset += body.length;
        this.uploads.set(name, upload);
        answer(response, 200, {});
    }

    // --- WebSocket ---

    #onUpgrade(request, socket) {
        const protocol = request.headers['sec-websocket-protocol'];
        const ticket = this.#tickets.get(protocol);
        this.#tickets.delete(protocol);
        if (!ticket || request.headers.origin + '/' !== this.url)
            return socket.end('HTTP/1.1 401 Unauthorized\r\nConnection: close\r\n\r\n');
        const { slot, identity } = ticket;
        clearTimeout(slot.timer);
        slot.socket = new WebSocketPeer(request, socket, protocol);
        slot.identity = identity;
        slot.socket.onClose = (code, reason) => this.#onClosed(slot, code, reason);
        this.set(slot.public.name, { state: 'attaching', error: '', imageName: identity.name, connectedVia: 'applet' });
        slot.nbd = new NbdPeer(slot.socket, (size, flags) =>
            this.set(slot.public.name, { state: 'ready', size, writable: !(flags & 2) }));
    }

    #onClosed(slot, code, reason) {
        slot.nbd.fail();
        slot.socket = null;
        if (slot.public.state === 'empty')
            return;
        if (code !== 1006 && code !== 1001)
            return this.#empty(slot, code === 1000 ? '' : reason);
        this.set(slot.public.name, { state: 'waiting' });
        slot.timer = setTimeout(() => this.#empty(slot, 'the browser did not come back'), this.graceMs);
    }
}

function problem(status, text) {
    return Object.assign(new Error(text), { status });
}

function answer(response, status, body) {
    if (response.headersSent || response.destroyed)
        return;
    response.writeHead(status, { 'Content-Type': 'application/json', 'Cache-Control': 'no-store' });
    response.end(JSON.stringify(body));
}

async function bodyOf(request) {
    const parts = [];
    for await (const part of request)
        parts.push(part);
    return Buffer.concat(parts);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
    const daemon = await new MockDaemon().start(Number(process.argv[2] ?? 0));
    console.log(daemon.url);
    setInterval(() => {}, 1 << 30); // until Ctrl-C
}
