// The real daemon for the page's tests: the program that NBD_PROXY names, over
// https, with accounts, two slots and uploads, and what a host does with a slot.

import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { CLIENT_FLAGS, DISC, GREETING, READ, WRITE, exportName, request } from './nbd_client.mjs';

const WEB = fileURLToPath(new URL('../../web/', import.meta.url));
const START_MS = 30_000; // under valgrind too
export const program = process.env.NBD_PROXY;
export const PASSWORD = 'right password';

export class Daemon {
    static running = new Set();
    #process = null;

    /** @param {string[]} settings beside the standard ones, SECTION.KEY=VALUE */
    constructor(settings = []) {
        this.folder = mkdtempSync(join(tmpdir(), 'npw-')); // short: sockets are in it
        this.settings = settings;
        this.account('admin', 'Administrator');
        this.account('operator', 'Operator');
        this.account('guest', 'ReadOnly');
    }

    async start(port = 0) {
        const settings = [`web.listen=127.0.0.1:${port}`, `web.users-file=${this.#users}`, `web.web-directory=${WEB}`,
            `web.upload-directory=${join(this.folder, 'uploads')}`, `daemon.runtime-dir=${this.folder}`, `daemon.profile-directory=${join(this.folder, 'profiles')}`,
            'slot.slot0.attach=socket', 'slot.slot1.attach=socket', 'http.allow-local=yes', ...this.settings];
        const log = openSync(join(this.folder, 'log'), 'w');
        this.#process = spawn(program, ['--no-config', ...settings.flatMap((setting) => ['--set', setting])],
            { stdio: ['ignore', 'ignore', log] });
        closeSync(log);
        this.#process.unref(); // a test that fails ends it by stop()
        Daemon.running.add(this);
        for (const end = Date.now() + START_MS; !/ ready: /.test(this.log());) {
            assert.ok(this.#process.exitCode === null && Date.now() < end, this.log());
            await new Promise((resolve) => setTimeout(resolve, 20));
        }
        this.port = Number(/listening on 127\.0\.0\.1:(\d+) \(https\)/.exec(this.log())[1]);
        this.url = `https://127.0.0.1:${this.port}/`;
        return this;
    }

    async stop() {
        if (!this.#process)
            return;
        const gone = this.#process.exitCode === null && new Promise((resolve) => this.#process.once('exit', resolve));
        this.#process.ref();
        this.#process.kill();
        await gone;
        Daemon.running.delete(this);
        const { exitCode } = this.#process;
        this.#process = null;
        assert.equal(exitCode, 0, this.log());
        assert.doesNotMatch(this.log(), /Sanitizer|runtime error/);
    }

    remove() {
        rmSync(this.folder, { recursive: true });
    }

    log() {
        return readFileSync(join(this.folder, 'log'), 'utf8');
    }

    get #users() {
        return join(this.folder, 'users');
    }

    /** Adds or changes an account as its administrator does. */
    account(user, role, ...options) {
        const done = spawnSync(program, ['passwd', `--file=${this.#users}`, ...role ? [`--role=${role}`] : [], ...options, user],
            { input: `${PASSWORD}\n`, encoding: 'utf8' });
        assert.equal(done.status, 0, done.stderr);
    }

    /** A command of the control socket: the lines of its answer, which must be good. */
    async command(line) {
        const lines = (await this.#ask(line)).trimEnd().split('\n');
        assert.match(lines.at(-1), /^ok/);
        return lines;
    }

    #ask(line) {
        return new Promise((resolve, reject) => {
            const socket = connect(join(this.folder, 'control.sock'), () => socket.end(`${line}\n`));
            let text = '';
            socket.setEncoding('utf8');
            socket.on('data', (data) => { text += data; });
            socket.on('end', () => resolve(text));
            socket.on('error', reject);
        });
    }

    async slot(name = 'slot0') {
        const [line] = await this.command('status --json');
        return JSON.parse(line).slots.find((slot) => slot.name === name);
    }

    host(name = 'slot0') {
        return Host.open(join(this.folder, `${name}.sock`));
    }
}

/** Who reads a slot: an NBD client on its UNIX socket. Reads may be under way at the same time. */
export class Host {
    #socket;
    #parts = [];
    #have = 0;
    #wanted = null; // {length, resolve}
    #cookie = 0n;
    #reads = new Map();
    #failure = null;

    static async open(path) {
        const host = new Host();
        host.#socket = connect(path);
        host.#socket.on('data', (part) => host.#onData(part));
        for (const event of ['error', 'close'])
            host.#socket.on(event, (error) => host.#fail(error instanceof Error ? error : new Error('the NBD connection ended')));
        assert.equal((await host.#take(18)).toString('hex'), GREETING);
        host.#socket.write(Buffer.concat([CLIENT_FLAGS, exportName()]));
        host.size = Number((await host.#take(10)).readBigUInt64BE());
        host.#receive();
        return host;
    }

    /** @returns {Promise<Buffer>} */
    read(offset, length) {
        const cookie = this.#cookie++;
        return new Promise((resolve, reject) => {
            if (this.#failure)
                return reject(this.#failure);
            this.#reads.set(cookie, { length, resolve, reject });
            this.#socket.write(request({ type: READ, cookie, offset, length }));
        });
    }

    /** @returns {Promise<Buffer>} of nothing, when it is written */
    write(offset, bytes) {
        const cookie = this.#cookie++;
        return new Promise((resolve, reject) => {
            this.#reads.set(cookie, { length: 0, resolve, reject });
            this.#socket.write(Buffer.concat([request({ type: WRITE, cookie, offset, length: bytes.length }), bytes]));
        });
    }

    /** The SHA-256 of it from `from` to `to`, read in order, so many reads at a time; `between` may wait after each piece. */
    async hash({ from = 0, to = this.size, piece = 128 << 10, ahead = 1, between = () => {} } = {}) {
        const hash = createHash('sha256');
        const reads = [];
        for (let at = from, next = from; at < to; at += piece) {
            for (; next < to && reads.length < ahead; next += piece)
                reads.push(this.read(next, Math.min(piece, to - next)));
            hash.update(await reads.shift());
            await between(at);
        }
        return hash.digest('hex');
    }

    close() {
        this.#socket.end(request({ type: DISC }));
    }

    #fail(error) {
        this.#failure ??= error;
        for (const { reject } of this.#reads.values())
            reject(this.#failure);
        this.#reads.clear();
        this.#wanted?.reject(this.#failure);
        this.#wanted = null;
    }

    #onData(part) {
        this.#parts.push(part);
        this.#have += part.length;
        this.#serve();
    }

    #serve() {
        if (!this.#wanted || this.#have < this.#wanted.length)
            return;
        const { length, resolve } = this.#wanted;
        const all = Buffer.concat(this.#parts);
        this.#wanted = null;
        this.#parts = [all.subarray(length)];
        this.#have = all.length - length;
        resolve(all.subarray(0, length));
    }

    #take(length) {
        return new Promise((resolve, reject) => {
            if (this.#failure)
                return reject(this.#failure);
            this.#wanted = { length, resolve, reject };
            this.#serve();
        });
    }

    async #receive() {
        try {
            for (;;) {
                const head = await this.#take(16);
                assert.equal(head.readUInt32BE(0), 0x67446698);
                const read = this.#reads.get(head.readBigUInt64BE(8));
                const error = head.readUInt32BE(4);
                this.#reads.delete(head.readBigUInt64BE(8));
                if (error)
                    read.reject(Object.assign(new Error(`NBD error ${error}`), { nbdError: error }));
                else
                    read.resolve(await this.#take(read.length));
            }
        } catch (error) {
            this.#fail(error);
        }
    }
}
