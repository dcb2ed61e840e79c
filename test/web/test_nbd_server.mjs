import assert from 'node:assert/strict';
import test from 'node:test';

import { NbdServer, fileSource, handleSource } from '../../web/nbd-server.js';
import { webSocketUrl } from '../../web/nbd-server.js';
import * as c from './nbd_client.mjs';

class FakeSocket {
    static last;
    bufferedAmount = 0;
    sent = [];
    closedWith = null;

    constructor(url, protocols) {
        Object.assign(this, { url, protocols });
        FakeSocket.last = this;
    }

    send(bytes) { this.sent.push(bytes); }
    close(code, reason) { this.closedWith ??= { code, reason }; }
    open() { this.onopen({}); }
    message(bytes) { this.onmessage({ data: bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length) }); }
    closed(code, reason = '', wasClean = true) { this.onclose({ code, reason, wasClean }); }
}

function serve(source, options = {}) {
    const states = [];
    const server = new NbdServer('wss://bmc/nbd/0', source, {
        WebSocket: FakeSocket,
        onState: (state, detail) => states.push([state, detail]),
        ...options,
    });
    server.start();
    return { server, socket: FakeSocket.last, states };
}

/** A file that notes how it is read; `refuse` makes the next read fail. */
function notedFile(size) {
    const bytes = c.pattern(0, size);
    const file = {
        size, name: 'x', reads: [], refuse: false,
        slice(from, to) {
            this.reads.push([from, to - from]);
            const refused = this.refuse;
            this.refuse = false;
            return { arrayBuffer: async () => refused ? Promise.reject(new Error('gone')) : bytes.slice(from, to).buffer };
        },
    };
    return { file, source: fileSource(file), bytes };
}

const MIB = 1 << 20;

test('a file that is read in order is read in larger pieces, each once and the next one early', async () => {
    const { file, source, bytes } = notedFile(5 * MIB + 777);
    for (let at = 0; at < source.size; at += 200_000) {
        const length = Math.min(200_000, source.size - at);
        const data = new Uint8Array(await source.read(at, length));
        assert.ok(Buffer.from(data).equals(Buffer.from(bytes.slice(at, at + length))), `at ${at}`);
    }
    assert.deepEqual(file.reads, [[0, 200_000], ...[0, 1, 2, 3, 4].map((i) => [i * MIB, MIB]), [5 * MIB, 777]]);
});

test('many reads at a time in order give what is in the file', async () => {
    const { file, source, bytes } = notedFile(20 * MIB);
    const parts = await Promise.all(Array.from({ length: 80 }, (_, i) => source.read(i * 262_144, 262_144)));
    assert.ok(Buffer.concat(parts.map((part) => new Uint8Array(part))).equals(Buffer.from(bytes)));
    assert.ok(file.reads.length <= 22, `${file.reads.length} reads`);
});

test('what is read here and there is read as it was asked for', async () => {
    const { file, source, bytes } = notedFile(8 * MIB);
    for (const at of [5 * MIB, 4096, 3 * MIB, 8192 * 3])
        assert.deepEqual([...new Uint8Array(await source.read(at, 4096))], [...bytes.slice(at, at + 4096)]);
    assert.deepEqual(file.reads.map(([, length]) => length), [4096, 4096, 4096, 4096]);
});

test('a piece that could not be read fails those who wait for it, and is tried again', async () => {
    const { file, source, bytes } = notedFile(3 * MIB);
    await source.read(0, 1000);
    file.refuse = true;
    await assert.rejects(source.read(1000, 1000), /gone/);
    assert.deepEqual([...new Uint8Array(await source.read(1000, 9))], [...bytes.slice(1000, 1009)]);
});

test('a file is served over a WebSocket, with the states told in order', async () => {
    const bytes = c.pattern(0, 5000);
    const progress = [];
    const { server, socket, states } = serve(fileSource(new Blob([bytes])), {
        protocols: ['ticket'],
        onProgress: (stats) => progress.push(stats.readBytes),
    });
    assert.equal(socket.url, 'wss://bmc/nbd/0');
    assert.deepEqual(socket.protocols, ['ticket']);
    assert.equal(socket.binaryType, 'arraybuffer');
    socket.open();
    assert.equal(c.toHex(socket.sent[0]), c.GREETING);
    socket.message(c.join(c.CLIENT_FLAGS, c.exportName()));
    socket.message(c.request({ type: c.READ, cookie: 7, offset: 1000, length: 3000 }));
    for (let i = 0; i < 100 && socket.sent.length < 3; i++)
        await c.settle();
    assert.deepEqual(c.reply(socket.sent[2]), { error: 0, cookie: 7n, data: bytes.slice(1000, 4000) });
    assert.deepEqual(progress, [3000]);
    socket.closed(1000, 'ejected');
    assert.deepEqual(states, [['connecting', {}], ['handshake', {}], ['serving', {}],
        ['closed', { code: 1000, reason: 'ejected', clean: true }]]);
    assert.equal(server.state, 'closed');
    assert.throws(() => server.start());
});

test('no protocols: none are offered', () => {
    const { socket } = serve(fileSource(new Blob(['x'])));
    assert.equal(socket.protocols, undefined);
});

test('text is not NBD', () => {
    const { socket } = serve(fileSource(new Blob(['x'])));
    socket.open();
    socket.onmessage({ data: 'hello' });
    assert.equal(socket.closedWith.code, 4000);
});

test('a socket that the platform refuses is told as closed', async () => {
    class Refusing { constructor() { throw new DOMException('mixed content', 'SecurityError'); } }
    const { states } = serve(fileSource(new Blob(['x'])), { WebSocket: Refusing });
    await c.settle();
    assert.deepEqual(states.map(([state]) => state), ['connecting', 'closed']);
    assert.deepEqual(states[1][1], { code: 1006, reason: 'mixed content', clean: false });
});

test('stop() ends it, also before it started', () => {
    const { server, socket } = serve(fileSource(new Blob(['x'])));
    server.stop(1000, 'bye');
    assert.deepEqual(socket.closedWith, { code: 1000, reason: 'bye' });
    const states = [];
    const idle = new NbdServer('wss://bmc/', fileSource(new Blob(['x'])), { onState: (s) => states.push(s) });
    idle.stop();
    assert.deepEqual(states, ['closed']);
});

test('URLs become WebSocket URLs', () => {
    globalThis.location = { href: 'https://bmc:8443/page/index.html' };
    assert.equal(webSocketUrl('/nbd/0'), 'wss://bmc:8443/nbd/0');
    assert.equal(webSocketUrl('http://a/b'), 'ws://a/b');
    assert.equal(webSocketUrl('wss://a/b'), 'wss://a/b');
    delete globalThis.location;
});

// --- a file that is written ---

/** A FileSystemFileHandle: a writable is a copy that takes the file's place on close. */
class FakeHandle {
    modified = 1000;
    commits = 0;
    failing = false;

    constructor(bytes, { granted = true } = {}) {
        this.bytes = bytes;
        this.granted = granted;
    }

    async queryPermission() { return 'prompt'; }
    async requestPermission() { return this.granted ? 'granted' : 'denied'; }

    async getFile() {
        const made = this.modified;
        const handle = this;
        const blob = new Blob([this.bytes]);
        return {
            name: 'stick.img', size: blob.size, lastModified: made,
            slice: (from, to) => ({
                arrayBuffer: async () => {
                    if (handle.modified !== made)
                        throw new DOMException('changed', 'NotReadableError');
                    return blob.slice(from, to).arrayBuffer();
                },
            }),
        };
    }

    async createWritable({ keepExistingData }) {
        assert.ok(keepExistingData);
        const copy = Uint8Array.from(this.bytes);
        return {
            write: async ({ position, data }) => {
                if (this.failing)
                    throw new DOMException('disk full', 'QuotaExceededError');
                copy.set(data, position);
            },
            close: async () => { this.bytes = copy; this.modified++; this.commits++; },
            abort: async () => {},
        };
    }
}

const asBytes = (buffer) => new Uint8Array(buffer);

test('a file without the permission to write is read-only', async () => {
    const source = await handleSource(new FakeHandle(c.pattern(0, 100), { granted: false }));
    assert.equal(source.readOnly, true);
    assert.deepEqual(asBytes(await source.read(10, 20)), c.pattern(10, 20));
});

test('writes are read back before the flush and are in the file after it', async () => {
    const handle = new FakeHandle(c.pattern(0, 10_001));
    const source = await handleSource(handle);
    const expected = c.pattern(0, 10_001);
    assert.equal(source.readOnly, false);
    for (const [offset, length] of [[4090, 20], [0, 1], [10_000, 1], [4096, 4096], [8191, 1810], [5, 9000]]) {
        const data = c.pattern(offset + 77, length);
        expected.set(data, offset);
        await source.write(offset, data);
        assert.deepEqual(asBytes(await source.read(0, 10_001)), expected);
        assert.deepEqual(asBytes(await source.read(4095, 5000)), expected.slice(4095, 9095));
    }
    assert.equal(handle.commits, 0);
    const [, during] = await Promise.all([source.flush(), source.read(0, 10_001)]);
    assert.deepEqual(asBytes(during), expected);
    assert.deepEqual(handle.bytes, expected);
    assert.equal(handle.commits, 1);
    await source.flush();
    assert.equal(handle.commits, 1, 'nothing to write');
});

test('a flush that fails keeps what was written; the next one may succeed', async () => {
    const handle = new FakeHandle(new Uint8Array(5000));
    const source = await handleSource(handle);
    await source.write(100, c.pattern(0, 50));
    handle.failing = true;
    await assert.rejects(source.flush(), { name: 'QuotaExceededError' });
    assert.deepEqual(asBytes(await source.read(100, 50)), c.pattern(0, 50));
    handle.failing = false;
    await source.flush();
    assert.deepEqual(handle.bytes.slice(100, 150), c.pattern(0, 50));
});

test('a file that another program changed is not overwritten', async () => {
    const handle = new FakeHandle(new Uint8Array(5000));
    const source = await handleSource(handle);
    await source.write(0, c.pattern(0, 50));
    handle.modified += 5;
    await assert.rejects(source.flush(), /changed by another program/);
    assert.equal(handle.commits, 0);
});

test('a file that is too large to be copied at each flush is refused', async () => {
    const handle = new FakeHandle(new Uint8Array(1));
    handle.getFile = async () => ({ name: 'x', size: 2 ** 30 + 1, lastModified: 1 });
    await assert.rejects(handleSource(handle), /1 GiB/);
});
