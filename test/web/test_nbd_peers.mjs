// Other programs' NBD clients against the session, on a UNIX socket instead of
// a WebSocket: what they take for NBD decides.

import assert from 'node:assert/strict';
import { execFile, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';

import { NbdSession } from '../../web/nbd-server.js';
import { pattern } from './nbd_client.mjs';

const run = (program, args) => promisify(execFile)(program, args, { timeout: 30_000 });
const needs = (program) => ({ skip: spawnSync(program, ['--version']).error ? `needs ${program}` : false, timeout: 60_000 });
const hash = (bytes) => createHash('sha256').update(bytes).digest('hex');
const SIZE = 40_000_513;

let folder;
before(() => { folder = mkdtempSync(join(tmpdir(), 'nbd-proxy-peers.')); });
after(() => rmSync(folder, { recursive: true }));

function memorySource(readOnly, size = SIZE) {
    const bytes = pattern(0, size);
    return {
        size, readOnly, name: 'a description', bytes, flushes: 0,
        // Of different speed, so that replies overtake each other.
        async read(offset, length) {
            await new Promise((resolve) => setTimeout(resolve, offset / 4096 % 3));
            return bytes.slice(offset, offset + length).buffer;
        },
        async write(offset, data) { bytes.set(data, offset); },
        async flush() { this.flushes++; },
    };
}

async function serve(source, body) {
    const sockets = new Set();
    const server = createServer((socket) => {
        sockets.add(socket);
        const session = new NbdSession(source, {
            send: (bytes) => socket.write(bytes),
            buffered: () => socket.writableLength,
            close: () => socket.end(),
        });
        socket.on('data', (data) => session.input(data));
        socket.on('close', () => session.end());
        socket.on('error', () => {});
        session.start();
    });
    const path = join(folder, `${Math.random()}.sock`);
    await new Promise((resolve) => server.listen(path, resolve));
    try {
        await body(`nbd+unix:///?socket=${path}`);
    } finally {
        for (const socket of sockets)
            socket.destroy();
        await new Promise((resolve) => server.close(resolve));
    }
}

test('nbdinfo: size, flags, block sizes, description, the list', needs('nbdinfo'), () => serve(memorySource(true), async (uri) => {
    const info = JSON.parse((await run('nbdinfo', ['--json', '--no-content', uri])).stdout);
    assert.equal(info.protocol, 'newstyle-fixed');
    const [only] = info.exports;
    assert.equal(only['export-size'], SIZE);
    assert.equal(only.is_read_only, true);
    assert.equal(only.description, 'a description');
    assert.deepEqual([only['block_size_minimum'], only['block_size_maximum']], [1, 32 << 20]);
    const list = JSON.parse((await run('nbdinfo', ['--json', '--list', '--no-content', uri])).stdout);
    assert.equal(list.exports.length, 1);
}));

test('nbdcopy reads the whole with many requests in flight', needs('nbdcopy'), () => serve(memorySource(true), async (uri) => {
    const copy = join(folder, 'copy.img');
    await run('nbdcopy', ['--requests=64', '--connections=1', uri, copy]);
    assert.equal(hash(readFileSync(copy)), hash(pattern(0, SIZE)));
}));

test('nbdcopy writes the whole, and it is flushed', needs('nbdcopy'), async () => {
    const source = memorySource(false);
    const image = join(folder, 'write.img');
    writeFileSync(image, pattern(99, SIZE));
    await serve(source, (uri) => run('nbdcopy', ['--flush', image, uri]));
    assert.equal(hash(source.bytes), hash(pattern(99, SIZE)));
    assert.ok(source.flushes > 0);
});

// qemu-img 7.2 does not come to an end by itself where the size is no multiple of 512.
test('qemu-img converts', needs('qemu-img'), () => serve(memorySource(true, SIZE - 1), async (uri) => {
    const copy = join(folder, 'qemu.img');
    await run('qemu-img', ['convert', '-f', 'raw', '-O', 'raw', uri, copy]);
    assert.equal(hash(readFileSync(copy)), hash(pattern(0, SIZE - 1)));
}));

const PYTHON = '/usr/bin/python3'; // the one that Debian's python3-libnbd is for
const skip = spawnSync(PYTHON, ['-c', 'import nbd']).status === 0 ? false : 'needs python3-libnbd';

test('a client that asks for the export by name, as old ones do', { skip }, () => serve(memorySource(true), async (uri) => {
    const script = `import nbd; h = nbd.NBD(); h.set_handshake_flags(0); h.connect_uri("${uri}"); `
        + 'print(h.get_protocol(), h.get_size(), h.pread(5, 4096).hex()); h.shutdown()';
    const { stdout } = await run(PYTHON, ['-c', script]);
    assert.equal(stdout.trim(), `newstyle ${SIZE} ${Buffer.from(pattern(4096, 5)).toString('hex')}`);
}));
