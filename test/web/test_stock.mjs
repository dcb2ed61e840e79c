// A stock OpenBMC: webui-vue's NBD server in Chromium, a stand-in of bmcweb that starts the program for its
// WebSocket, and the real daemon, whose slot a host reads. Needs the program in the environment's NBD_PROXY.

import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { createReadStream, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { launch } from './browser.mjs';
import { Daemon, program } from './daemon.mjs';
import { until } from './page.mjs';
import { WebSocketPeer } from './websocket.mjs';

const MESSAGE_MAX = 131_088, BUFFER_MAX = 524_352, ANSWERS_MAX = 262_176; // bmcweb's
const TOKEN = 'the-value-of-XSRF-TOKEN';
const SERVER = readFileSync(fileURLToPath(new URL('webui-vue/NBDServer.js', import.meta.url)));
const PAGE = `<!DOCTYPE html><input type="file" autocomplete="off"><script type="module">
import NBDServer from '/NBDServer.js';
document.querySelector('input').onchange = (event) => {
    window.nbd = new NBDServer('ws://' + location.host + '/vm/0/0', event.target.files[0], 0, '${TOKEN}');
    window.nbd.socketClosed = (code) => { window.ended = code; };
    window.file = event.target.files[0]; // which it reads beside its own
    window.nbd.start();
};</script>`;

const browser = program ? await launch() : null;
const skip = !program ? 'NBD_PROXY names no program' : browser ? false : 'needs chromium and playwright-core';
let folder;

before(() => { folder = mkdtempSync(join(tmpdir(), 'npw-')); });
after(async () => {
    rmSync(folder, { recursive: true });
    await browser?.close();
});

/** What was asked for and not answered: bytes of the answers, as they cross in both directions. */
class Ledger {
    most = 0;
    #open = new Map();
    #input = Buffer.alloc(0);
    #began = false;

    fromProgram(data) {
        this.#input = Buffer.concat([this.#input, data]);
        if (!this.#began && this.#input.length >= 20) { // flags, and the one option
            this.#input = this.#input.subarray(20 + this.#input.readUInt32BE(16));
            this.#began = true;
        }
        for (; this.#began && this.#input.length >= 28; this.#input = this.#input.subarray(28)) {
            if (this.#input.readUInt16BE(6) === 0)
                this.#open.set(this.#input.readBigUInt64BE(8), 16 + this.#input.readUInt32BE(24));
        }
        this.most = Math.max(this.most, [...this.#open.values()].reduce((sum, size) => sum + size, 0));
    }

    toProgram(message) {
        if (message.length >= 16 && message.readUInt32BE(0) === 0x67446698)
            this.#open.delete(message.readBigUInt64BE(8));
    }
}

/** The page, and one session at a time at /vm/0/0 on two pipes. */
class Bmcweb {
    ledger = new Ledger();
    faults = [];
    ends = []; // milliseconds from SIGTERM to the program's exit
    #session = null;
    #pipes = 0;

    constructor(daemon) {
        this.daemon = daemon;
        this.server = createServer((request, response) => {
            const script = request.url === '/NBDServer.js';
            response.setHeader('Content-Type', script ? 'text/javascript' : 'text/html');
            response.end(script ? SERVER : request.url === '/' ? PAGE : '');
        });
        this.server.on('upgrade', (request, socket) => this.#accept(request, socket));
    }

    async start() {
        await new Promise((resolve) => this.server.listen(0, '127.0.0.1', resolve));
        return `http://127.0.0.1:${this.server.address().port}/`;
    }

    get running() {
        return this.#session !== null;
    }

    async stop() {
        this.server.close();
        this.server.closeAllConnections?.();
        await until(() => !this.running, 'the program ends');
    }

    async #accept(request, socket) {
        assert.equal(request.url, '/vm/0/0');
        assert.equal(request.headers['sec-websocket-protocol'], TOKEN);
        const peer = new WebSocketPeer(request, socket, TOKEN);
        if (this.#session) {
            peer.close(1000, 'Session already connected');
            return;
        }
        this.ledger = new Ledger();
        const names = ['in', 'out'].map((name) => join(this.daemon.folder, `${name}${this.#pipes}`));
        this.#pipes++;
        assert.equal(spawnSync('mkfifo', names).status, 0);
        const child = spawn('/bin/sh', ['-c', 'exec "$0" "$@" <"$IN" >"$OUT"', program, '--no-config', '--set',
            `daemon.runtime-dir=${this.daemon.folder}`, '0'], { stdio: 'ignore', env: { ...process.env, IN: names[0], OUT: names[1] } });
        const session = { child, queued: 0, writing: Promise.resolve() };
        this.#session = session;
        child.on('exit', () => {
            this.ends.push(performance.now() - session.ended);
            this.#session = null;
        });
        const opened = open(names[0], 'w');
        createReadStream(names[1]).on('data', (data) => {
            this.ledger.fromProgram(data);
            peer.send(data);
        });
        peer.onMessage = (bytes) => {
            const message = Buffer.from(bytes);
            session.queued += message.length;
            if (message.length > MESSAGE_MAX || session.queued > BUFFER_MAX)
                this.faults.push(`${message.length} bytes, ${session.queued} in all`);
            session.writing = session.writing.then(async () => {
                this.ledger.toProgram(message); // once it is written the program may be faster than we
                await (await opened).writeFile(message).catch(() => {});
                session.queued -= message.length;
            });
        };
        peer.onClose = () => {
            session.ended = performance.now();
            child.kill('SIGTERM');
            session.writing.then(async () => (await opened).close());
        };
    }
}

function stockTest(name, body) {
    test(name, { skip, timeout: 120_000 }, async () => {
        const daemon = new Daemon();
        const bmcweb = new Bmcweb(daemon);
        const context = await browser.newContext();
        const page = await context.newPage();
        try {
            await daemon.start();
            const url = await bmcweb.start();
            await page.goto(url);
            await body(page, daemon, bmcweb);
            assert.deepEqual(bmcweb.faults, []);
            assert.ok(bmcweb.ledger.most <= ANSWERS_MAX, String(bmcweb.ledger.most));
        } finally {
            await context.close();
            await bmcweb.stop();
            await daemon.stop();
            daemon.remove();
        }
    });
}

function makeImage(size) {
    const path = join(folder, `${size}.iso`), bytes = randomBytes(size);
    writeFileSync(path, bytes);
    return { path, hash: createHash('sha256').update(bytes).digest('hex') };
}

async function start(page, daemon, path) {
    await page.setInputFiles('input', path);
    await page.waitForFunction(() => window.nbd);
    await until(async () => (await daemon.slot()).state === 'ready', 'the slot is ready');
}

stockTest("webui-vue's server serves every byte, and an eject closes it", async (page, daemon, bmcweb) => {
    const { path, hash } = makeImage(40_000_123);
    await start(page, daemon, path);
    const host = await daemon.host();
    assert.equal(await host.hash({ piece: 1 << 20, ahead: 4 }), hash);
    host.close();
    await daemon.command('eject 0');
    await until(() => page.evaluate(() => window.ended !== undefined), 'the WebSocket closes');
    await until(() => !bmcweb.running, 'the program ends');
    assert.equal((await daemon.slot()).error, null);
});

stockTest('a page that is loaded anew goes on with the same file, and its stop ends the program at once', async (page, daemon, bmcweb) => {
    const { path, hash } = makeImage(8_000_000);
    await start(page, daemon, path);
    const host = await daemon.host();
    await host.read(0, 4096);
    await page.reload();
    await until(() => !bmcweb.running, 'the program ends');
    const whole = host.hash({ piece: 1 << 20, ahead: 2 }); // waits
    await start(page, daemon, path);
    assert.equal(await whole, hash);
    host.close();
    await page.evaluate(() => window.nbd.stop());
    await until(() => !bmcweb.running, 'the program ends');
    assert.equal(bmcweb.ends.length, 2);
    assert.ok(Math.max(...bmcweb.ends) < 1000, String(bmcweb.ends)); // 50 ms are measured where nothing else runs
});
