// A headless Chromium for bench/browser:
//   node chromium.mjs serve URL USER PASSWORD SLOT FILE   from the daemon's own page, with web/nbd-server.js
//   node chromium.mjs push URL BYTES                      one WebSocket that is always full
// Says "serving", and runs until it is told to end. It drives the browser by itself and not by a library: those
// have each message of a WebSocket told to them, which costs more than the message.

import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Chromium at the other end of a pipe: DevTools' protocol, messages that end with a zero byte. */
class Chromium {
    #process;
    #folder = mkdtempSync(join(tmpdir(), 'bench-chromium-'));
    #waiting = new Map();
    #id = 0;
    #session;

    constructor() {
        const flags = ['--headless=new', '--remote-debugging-pipe', '--ignore-certificate-errors', '--no-first-run', '--disable-gpu',
            `--user-data-dir=${this.#folder}`, ...process.getuid() === 0 ? ['--no-sandbox'] : []];
        this.#process = spawn('chromium', [...flags, 'about:blank'], { stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'] });
        this.#process.on('error', (error) => {
            console.log(error.message);
            process.exit(1);
        });
        let text = '';
        this.#process.stdio[4].setEncoding('utf8').on('data', (data) => {
            const messages = (text + data).split('\0');
            text = messages.pop();
            for (const message of messages)
                this.#onMessage(JSON.parse(message));
        });
    }

    async open(url) {
        const { targetId } = await this.#send('Target.createTarget', { url: 'about:blank' });
        this.#session = (await this.#send('Target.attachToTarget', { targetId, flatten: true })).sessionId;
        await this.#send('Page.navigate', { url });
        while (await this.evaluate('`${document.readyState} ${location.href}`') !== `complete ${url}`)
            await new Promise((resolve) => setTimeout(resolve, 20));
    }

    /** The value of an expression, or of its promise. */
    async evaluate(expression) {
        const { result, exceptionDetails } = await this.#send('Runtime.evaluate', { expression, awaitPromise: true, returnByValue: true });
        if (exceptionDetails)
            throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
        return result.value;
    }

    /** As if the user had chosen it in the <input> that the expression gives. */
    async chooseFile(expression, path) {
        const { result } = await this.#send('Runtime.evaluate', { expression });
        await this.#send('DOM.setFileInputFiles', { objectId: result.objectId, files: [path] });
    }

    async close() {
        const gone = new Promise((resolve) => this.#process.once('exit', resolve));
        this.#process.kill();
        await gone;
        rmSync(this.#folder, { recursive: true, force: true, maxRetries: 5 });
    }

    #send(method, params) {
        const id = ++this.#id;
        this.#process.stdio[3].write(`${JSON.stringify({ id, method, params, sessionId: this.#session })}\0`);
        return new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject }));
    }

    #onMessage({ id, result, error }) {
        const waiting = this.#waiting.get(id);
        this.#waiting.delete(id);
        if (error)
            waiting?.reject(new Error(error.message));
        else
            waiting?.resolve(result);
    }
}

async function serve(browser, url, user, password, slot, path) {
    await browser.open(url);
    await browser.evaluate(`document.body.append(window.bench = Object.assign(document.createElement('input'), { type: 'file' }))`);
    await browser.chooseFile('bench', path);
    await browser.evaluate(`(async () => {
        const { Api } = await import('/api.js');
        const { NbdServer, fileSource } = await import('/nbd-server.js');
        const api = new Api();
        await api.login(${JSON.stringify(user)}, ${JSON.stringify(password)});
        const [file] = bench.files;
        const ticket = await api.ticket(${JSON.stringify(slot)}, { name: file.name, size: file.size, lastModified: file.lastModified, samples: [] });
        await new Promise((resolve, reject) => new NbdServer(ticket.url, fileSource(file), {
            protocols: [ticket.protocol],
            onState: (state, detail) => {
                if (state === 'serving')
                    resolve();
                if (state === 'closed')
                    reject(new Error('closed ' + detail.code + ' ' + detail.reason));
            },
        }).start());
    })()`);
}

async function push(browser, url, bytes) {
    await browser.open('about:blank');
    await browser.evaluate(`new Promise((resolve, reject) => {
        const socket = new WebSocket('${url.replace('https:', 'wss:')}');
        const message = new Uint8Array((256 << 10) + 16);
        let sent = 0;
        const more = () => {
            for (; socket.bufferedAmount < 32 << 20 && sent < ${bytes}; sent += message.length)
                socket.send(message);
            if (sent < ${bytes})
                setTimeout(more, 1);
        };
        socket.onopen = () => {
            resolve();
            more();
        };
        socket.onerror = () => reject(new Error('the WebSocket was not opened'));
    })`);
}

const [mode, ...words] = process.argv.slice(2);
const browser = new Chromium();
process.on('SIGTERM', () => browser.close().then(() => process.exit(0)));
try {
    await (mode === 'serve' ? serve : push)(browser, ...words);
    console.log('serving');
} catch (error) {
    console.log(error.message);
    await browser.close();
    process.exit(1);
}
