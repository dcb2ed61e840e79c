import assert from 'node:assert/strict';
import test from 'node:test';

import { NbdSession, fileSource } from '../../web/nbd-server.js';
import * as c from './nbd_client.mjs';

const SIZE = 100_000;

class Peer {
    sent = [];
    closed = null;
    serving = false;
    buffered = 0;

    constructor(source = patternSource(), limits = {}) {
        this.session = new NbdSession(source, {
            send: (bytes) => {
                assert.equal(this.closed, null, 'sent after the close');
                this.sent.push(Uint8Array.from(bytes));
            },
            buffered: () => this.buffered,
            close: (code, reason) => {
                assert.equal(this.closed, null, 'closed twice');
                this.closed = { code, reason };
            },
            serving: () => { this.serving = true; },
        }, limits);
        this.session.start();
    }

    input(...parts) {
        for (const part of parts)
            this.session.input(part);
    }

    handshake() {
        this.input(c.CLIENT_FLAGS, c.exportName());
        this.sent.length = 0;
        return this;
    }

    async replies(count) {
        for (let i = 0; i < 200 && this.sent.length < count; i++)
            await c.settle();
        assert.equal(this.sent.length, count);
        return this.sent.map(c.reply);
    }
}

function patternSource(size = SIZE) {
    return { size, readOnly: true, read: async (offset, length) => c.pattern(offset, length).buffer };
}

/** Reads that end when the test says so, in its order. */
function heldSource(size = SIZE) {
    const held = [];
    return {
        size,
        readOnly: true,
        held,
        read: (offset, length) => new Promise((resolve, reject) => {
            held.push({ offset, length, finish: () => resolve(c.pattern(offset, length).buffer), fail: reject });
        }),
    };
}

function memorySource(size = 8192) {
    const bytes = new Uint8Array(size);
    const log = [];
    return {
        size, readOnly: false, bytes, log,
        read: async (offset, length) => bytes.slice(offset, offset + length).buffer,
        write: async (offset, data) => { log.push(`write ${offset}`); bytes.set(data, offset); },
        flush: async () => { log.push('flush'); },
    };
}

const read = (cookie, offset, length) => c.request({ type: c.READ, cookie, offset, length });

test('the greeting is the eighteen bytes of fixed newstyle', () => {
    const peer = new Peer();
    assert.deepEqual(peer.sent.map(c.toHex), [c.GREETING]);
});

test('EXPORT_NAME is answered with ten bytes, or 134 without NO_ZEROES', () => {
    const short = new Peer();
    short.input(c.CLIENT_FLAGS, c.exportName('any name'));
    assert.deepEqual(short.sent.slice(1).map(c.toHex), ['00000000000186a00003']);
    assert.ok(short.serving);
    const long = new Peer();
    long.input(c.hex('00000001'), c.exportName());
    assert.deepEqual(long.sent.slice(1).map(c.toHex), ['00000000000186a00003' + '00'.repeat(124)]);
});

test('a size beyond 32 bits has both halves', () => {
    const peer = new Peer(patternSource(5 * 2 ** 30 + 123));
    peer.input(c.CLIENT_FLAGS, c.exportName());
    assert.equal(c.toHex(peer.sent[1]), '000000014000007b0003');
});

test('unknown options are refused and the session goes on', () => {
    const peer = new Peer();
    peer.input(c.CLIENT_FLAGS);
    for (const number of [4, 5, 8, 9, 10, 11, 999])
        peer.input(c.option(number, new Uint8Array(7)));
    const replies = peer.sent.slice(1).map(c.optionReply);
    assert.deepEqual(replies.map((r) => r.option), [4, 5, 8, 9, 10, 11, 999]);
    assert.ok(replies.every((r) => r.type === 0x80000001 && r.data.length === 0));
    peer.input(c.exportName());
    assert.ok(peer.serving);
});

test('ABORT is acknowledged, then the connection ends', () => {
    const peer = new Peer();
    peer.input(c.CLIENT_FLAGS, c.option(2));
    assert.equal(c.toHex(peer.sent[1]), '0003e889045565a9000000020000000100000000');
    assert.equal(peer.closed.code, 1000);
});

test('LIST names one export and says what it is', () => {
    const peer = new Peer({ ...patternSource(), name: 'grüße.iso' });
    peer.input(c.CLIENT_FLAGS, c.option(3), c.option(3, new Uint8Array(1)));
    const replies = peer.sent.slice(1).map(c.optionReply);
    assert.deepEqual(replies.map((r) => r.type), [2, 1, 0x80000003]);
    assert.equal(c.toHex(replies[0].data), '00000000' + Buffer.from('grüße.iso').toString('hex'));
});

test('INFO tells and stays; GO tells and serves', async () => {
    const peer = new Peer({ ...patternSource(), name: 'x.iso' });
    peer.input(c.CLIENT_FLAGS, c.option(6, c.goData('a', [])));
    assert.equal(c.toHex(peer.sent[1]), '0003e889045565a90000000600000003' + '0000000c' + '0000' + '00000000000186a0' + '0003');
    assert.equal(c.optionReply(peer.sent[2]).type, 1);
    assert.equal(peer.serving, false);
    peer.sent.length = 0;
    peer.input(c.option(7, c.goData('', [1, 2, 3, 77])));
    const replies = peer.sent.map(c.optionReply);
    assert.deepEqual(replies.map((r) => r.type), [3, 3, 3, 3, 1]);
    assert.deepEqual(replies.slice(0, 4).map((r) => c.toHex(r.data)), [
        '000000000000000186a00003', '0001', '0002' + Buffer.from('x.iso').toString('hex'),
        '0003' + '00000001' + '00010000' + '02000000',
    ]);
    assert.ok(peer.serving);
    peer.sent.length = 0;
    peer.input(read(9, 5, 3));
    assert.deepEqual((await peer.replies(1))[0], { error: 0, cookie: 9n, data: c.pattern(5, 3) });
});

test('GO whose lengths do not add up is invalid, and may be tried again', () => {
    const good = c.goData('abc', [0]);
    for (const bad of [good.subarray(0, 5), good.subarray(0, good.length - 1), c.join(good, new Uint8Array(1)),
        c.hex('ffffffff0000'), c.hex('00000000ffff')]) {
        const peer = new Peer();
        peer.input(c.CLIENT_FLAGS, c.option(7, bad));
        assert.equal(c.optionReply(peer.sent[1]).type, 0x80000003, c.toHex(bad));
        peer.input(c.option(7, good));
        assert.ok(peer.serving);
    }
});

test('a whole dialogue split at every byte, and byte by byte, gives the same answers', async () => {
    const dialogue = c.join(c.CLIENT_FLAGS, c.option(3), c.option(7, c.goData('n', [3])), read(1, 0, 10),
        c.request({ type: c.WRITE, cookie: 2, data: c.pattern(0, 50) }), read(3, 99_990, 10), read(4, 99_991, 10));
    const run = async (parts) => {
        const peer = new Peer();
        for (const part of parts) {
            peer.input(part);
            if (parts.length === 2)
                await c.settle();
        }
        for (let i = 0; i < 50 && peer.sent.length < 10; i++)
            await c.settle();
        // Options in their order; replies to requests may come in any.
        const all = peer.sent.map(c.toHex);
        return [...all.slice(0, 6), ...all.slice(6).sort()];
    };
    const whole = await run([dialogue]);
    assert.equal(whole.length, 10);
    assert.deepEqual(await run([...dialogue].map((byte) => Uint8Array.of(byte))), whole);
    for (let at = 1; at < dialogue.length; at++)
        assert.deepEqual(await run([dialogue.subarray(0, at), dialogue.subarray(at)]), whole, `split at ${at}`);
});

test('a 64-bit cookie comes back bit by bit', async () => {
    const peer = new Peer().handshake();
    const cookies = [0n, 1n, 0xffffffffffffffffn, 0x8000000000000001n, 0x0123456789abcdefn];
    for (const cookie of cookies)
        peer.input(read(cookie, 0, 1));
    assert.deepEqual((await peer.replies(5)).map((r) => r.cookie).sort(), [...cookies].sort());
});

test('reads are under way together and answered as they end', async () => {
    const source = heldSource();
    const peer = new Peer(source).handshake();
    peer.input(c.join(read(1, 0, 10), read(2, 100, 20), read(3, 200, 30)));
    assert.equal(source.held.length, 3);
    source.held[2].finish();
    await c.settle();
    source.held[0].finish();
    await c.settle();
    source.held[1].finish();
    const replies = await peer.replies(3);
    assert.deepEqual(replies.map((r) => r.cookie), [3n, 1n, 2n]);
    assert.deepEqual(replies.map((r) => r.data), [c.pattern(200, 30), c.pattern(0, 10), c.pattern(100, 20)]);
});

test('a read past the end is EINVAL and the session lives', async () => {
    const peer = new Peer().handshake();
    const bad = [[SIZE, 1], [SIZE - 1, 2], [2n ** 63n, 1], [2n ** 64n - 1n, 0xffffffff], [0, 0xffffffff], [0, (32 << 20) + 1]];
    for (const [offset, length] of bad)
        peer.input(read(7, offset, length));
    const replies = await peer.replies(bad.length);
    assert.ok(replies.every((r) => r.error === 22 && r.data.length === 0));
    peer.sent.length = 0;
    peer.input(read(8, SIZE - 2, 2), read(9, SIZE, 0));
    assert.deepEqual((await peer.replies(2)).map((r) => [r.error, r.data.length]).sort(), [[0, 0], [0, 2]]);
    assert.equal(peer.closed, null);
});

test('a read-only source: writing commands are EPERM, their payload is not taken for requests', async () => {
    const peer = new Peer().handshake();
    const trap = read(99, 0, 1); // as payload it must not be answered
    peer.input(c.request({ type: c.WRITE, cookie: 1, data: trap }), c.request({ type: c.TRIM, cookie: 2, length: 5 }),
        c.request({ type: c.WRITE_ZEROES, cookie: 3, length: 5 }), c.request({ type: c.FLUSH, cookie: 4 }),
        c.request({ type: c.CACHE, cookie: 5, length: 5 }), c.request({ type: c.BLOCK_STATUS, cookie: 6, length: 5 }),
        c.request({ type: 4711, cookie: 7 }), c.request({ type: c.READ, cookie: 8, length: 1, flags: 4 }));
    const replies = await peer.replies(8);
    assert.deepEqual(replies.sort((a, b) => Number(a.cookie - b.cookie)).map((r) => r.error), [1, 1, 1, 0, 22, 22, 22, 22]);
    assert.equal(peer.closed, null);
});

test('a writable source: write, read back, flush, and errors', async () => {
    const source = memorySource();
    const peer = new Peer(source);
    peer.input(c.CLIENT_FLAGS, c.exportName());
    assert.equal(c.toHex(peer.sent[1]), '00000000000020000005'); // HAS_FLAGS, SEND_FLUSH
    peer.sent.length = 0;
    const bytes = c.request({ type: c.WRITE, cookie: 1, offset: 4090, data: c.pattern(3, 20) });
    for (const byte of bytes)
        peer.input(Uint8Array.of(byte));
    assert.equal((await peer.replies(1))[0].error, 0);
    peer.input(read(2, 4090, 20));
    assert.deepEqual((await peer.replies(2))[1].data, c.pattern(3, 20));
    peer.input(c.request({ type: c.FLUSH, cookie: 3 }), c.request({ type: c.WRITE, cookie: 4, offset: 8191, data: c.pattern(0, 2) }),
        c.request({ type: c.TRIM, cookie: 5, length: 1 }));
    const errors = (await peer.replies(5)).slice(2).sort((a, b) => Number(a.cookie - b.cookie)).map((r) => r.error);
    assert.deepEqual(errors, [0, 28, 22]);
    assert.deepEqual(source.log, ['write 4090', 'flush']);
});

test('DISC: what is under way is answered, what was written is flushed, then 1000', async () => {
    const source = { ...memorySource(), ...heldRead() };
    function heldRead() {
        const held = [];
        return { held, read: () => new Promise((resolve) => held.push(() => resolve(new ArrayBuffer(4)))) };
    }
    const peer = new Peer(source).handshake();
    peer.input(c.request({ type: c.WRITE, cookie: 1, data: c.pattern(0, 4) }), read(2, 0, 4), c.request({ type: c.DISC }),
        read(3, 0, 4));
    await peer.replies(1);
    assert.equal(peer.closed, null);
    source.held[0]();
    assert.equal((await peer.replies(2))[1].cookie, 2n);
    await c.settle();
    assert.deepEqual(peer.closed, { code: 1000, reason: '' });
    assert.ok(source.log.includes('flush'));
});

test('a transport that is lost after a write: it is flushed, and nothing is sent', async () => {
    const source = memorySource();
    const peer = new Peer(source).handshake();
    peer.input(c.request({ type: c.WRITE, cookie: 1, data: c.pattern(0, 4) }));
    await peer.replies(1);
    peer.input(read(2, 0, 4));
    peer.session.end();
    await c.settle();
    assert.equal(peer.sent.length, 1);
    assert.deepEqual(source.log, ['write 0', 'flush']);
});

test('a file that changed on the disk is EIO, with the reason kept', async () => {
    const gone = { size: 10, readOnly: true, read: async () => { throw new DOMException('the file changed', 'NotReadableError'); } };
    const short = fileSource({ size: 10, name: 'x', slice: () => new Blob(['abc']) });
    for (const [source, reason] of [[gone, /the file changed/], [short, /shorter than it was/]]) {
        const peer = new Peer(source).handshake();
        peer.input(read(5, 0, 10));
        assert.deepEqual(await peer.replies(1), [{ error: 5, cookie: 5n, data: new Uint8Array(0) }]);
        assert.match(peer.session.stats.lastError, reason);
        assert.equal(peer.session.stats.errors, 1);
        assert.equal(peer.closed, null);
    }
});

test('a source may choose its error', async () => {
    const source = { ...memorySource(), write: async () => { throw Object.assign(new Error('full'), { nbdError: 28 }); } };
    const peer = new Peer(source).handshake();
    peer.input(c.request({ type: c.WRITE, data: c.pattern(0, 4) }));
    assert.equal((await peer.replies(1))[0].error, 28);
});

// --- bounds ---

test('requests and bytes under way are bounded', async () => {
    const source = heldSource();
    const peer = new Peer(source, { requests: 4 }).handshake();
    for (let i = 0; i < 20; i++)
        peer.input(read(i, i, 10));
    assert.equal(source.held.length, 4);
    source.held[0].finish();
    await peer.replies(1);
    assert.equal(source.held.length, 5);

    const narrow = heldSource();
    const other = new Peer(narrow, { bytes: 1000 }).handshake();
    other.input(read(1, 0, 600), read(2, 0, 600), read(3, 0, 100));
    assert.equal(narrow.held.length, 1);
    narrow.held[0].finish();
    await other.replies(1);
    assert.deepEqual(narrow.held.map((h) => h.length), [600, 600, 100]);

    const alone = heldSource();
    const third = new Peer(alone, { bytes: 1000 }).handshake();
    third.input(read(1, 0, 5000));
    assert.equal(alone.held.length, 1, 'one larger than the bound still runs');
});

test('no read begins while the socket is full', async () => {
    const source = heldSource();
    const peer = new Peer(source, { buffered: 1000 }).handshake();
    peer.buffered = 1000;
    peer.input(read(1, 0, 10), read(2, 0, 10));
    await new Promise((resolve) => setTimeout(resolve, 60)); // nothing happens
    assert.equal(source.held.length, 0);
    peer.buffered = 999;
    for (let i = 0; i < 200 && source.held.length < 2; i++)
        await new Promise((resolve) => setTimeout(resolve, 10));
    assert.equal(source.held.length, 2);
});

test('too many requests, or too many bytes of writes, end the session', () => {
    const peer = new Peer(heldSource(), { requests: 1, waiting: 10 }).handshake();
    for (let i = 0; i < 11; i++)
        peer.input(read(i, 0, 1));
    assert.equal(peer.closed, null);
    peer.input(read(11, 0, 1));
    assert.equal(peer.closed.code, 4000);

    const stuck = { ...memorySource(), write: () => new Promise(() => {}) };
    const writer = new Peer(stuck, { requests: 1, waitingBytes: 100 }).handshake();
    for (let i = 0; i < 2; i++)
        writer.input(c.request({ type: c.WRITE, data: c.pattern(0, 80) }));
    assert.equal(writer.closed, null);
    writer.input(c.request({ type: c.WRITE, data: c.pattern(0, 80) }));
    assert.deepEqual(writer.closed, { code: 4000, reason: 'too many bytes of writes at a time' });
});

test('a thousand waiting requests that are wrong do not run deep', async () => {
    const source = heldSource();
    const peer = new Peer(source, { requests: 1 }).handshake();
    peer.input(read(0, 0, 1));
    for (let i = 0; i < 1000; i++)
        peer.input(read(1, SIZE, 1));
    source.held[0].finish();
    for (let i = 0; i < 3000 && peer.sent.length < 1001; i++)
        await c.settle();
    assert.equal(peer.sent.length, 1001);
});

// --- hostile input ---

test('what is not NBD ends the session with 4000', () => {
    const cases = {
        'client flags': [c.hex('80000003')],
        'option magic': [c.CLIENT_FLAGS, c.hex('49484156454f5055 00000001 00000000')],
        'long option': [c.CLIENT_FLAGS, c.hex('49484156454f5054 00000007 00010001')],
        'endless option': [c.CLIENT_FLAGS, c.hex('49484156454f5054 00000001 ffffffff')],
        'long name': [c.CLIENT_FLAGS, c.option(1, new Uint8Array(4097))],
        'request magic': [c.CLIENT_FLAGS, c.exportName(), c.hex('25609514' + '00'.repeat(24))],
        'HTTP': [Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n')],
    };
    for (const [name, parts] of Object.entries(cases)) {
        const peer = new Peer();
        peer.input(...parts);
        assert.equal(peer.closed?.code, 4000, name);
        assert.ok(Buffer.byteLength(peer.closed.reason) <= 123);
        peer.input(read(1, 0, 1)); // ignored
    }
});

test('a name in GO that is too long is refused, not the session', () => {
    const peer = new Peer();
    peer.input(c.CLIENT_FLAGS, c.option(7, c.goData('x'.repeat(4097), [])));
    assert.equal(c.optionReply(peer.sent[1]).type, 0x80000009);
    assert.equal(peer.closed, null);
});

test('endless options end', () => {
    const peer = new Peer();
    peer.input(c.CLIENT_FLAGS);
    for (let i = 0; i < 1000; i++)
        peer.input(c.option(3));
    assert.equal(peer.closed.code, 4000);
    assert.ok(peer.sent.length < 200);
});

test('a write that claims 4 GiB takes no memory and its payload is skipped', async () => {
    const peer = new Peer(memorySource()).handshake();
    peer.input(c.request({ type: c.WRITE, cookie: 1, length: 0xffffffff }));
    const piece = new Uint8Array(16 << 20);
    const before = process.memoryUsage().arrayBuffers;
    let left = 0xffffffff;
    for (; left > piece.length; left -= piece.length)
        peer.input(piece);
    assert.equal(peer.sent.length, 0);
    peer.input(piece.subarray(0, left), read(2, 0, 1));
    assert.ok(process.memoryUsage().arrayBuffers - before < 1 << 20);
    const replies = await peer.replies(2);
    assert.deepEqual(replies.map((r) => [r.cookie, r.error]), [[1n, 22], [2n, 0]]);
});

test('random bytes never throw', () => {
    let seed = 12345;
    const random = () => (seed = Math.imul(seed, 1103515245) + 12345 >>> 0) >>> 16;
    for (let round = 0; round < 300; round++) {
        const peer = new Peer(memorySource());
        const start = [c.join(c.CLIENT_FLAGS), c.join(c.CLIENT_FLAGS, c.exportName()), new Uint8Array(0)][round % 3];
        const noise = Uint8Array.from({ length: random() % 300 }, () => random() & 255);
        if (round % 2)
            noise.set((round % 3 === 1 ? c.hex('256095130000') : c.hex('49484156454f5054')).subarray(0, noise.length));
        peer.input(start, noise);
    }
});

test('a large payload in small messages is copied once, not again and again', () => {
    const peer = new Peer({ ...memorySource(32 << 20), write: () => new Promise(() => {}) }).handshake();
    const data = new Uint8Array(32 << 20);
    peer.input(c.request({ type: c.WRITE, length: data.length }));
    const start = process.hrtime.bigint();
    for (let at = 0; at < data.length; at += 1024)
        peer.input(data.subarray(at, at + 1024));
    const seconds = Number(process.hrtime.bigint() - start) / 1e9;
    assert.equal(peer.session.stats.inFlight, 1);
    assert.ok(seconds < 5, `${seconds} s; joining the messages takes minutes`);
});
