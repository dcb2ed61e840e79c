// A headless Chromium for bench/browser:
//   node chromium.mjs serve URL USER PASSWORD SLOT FILE   from the daemon's own page, with web/nbd-server.js
//   node chromium.mjs push URL BYTES                      one WebSocket that is always full
// Says "serving", and runs until it is told to end.

import { launch } from '../test/web/browser.mjs';

const [mode, url, ...words] = process.argv.slice(2);
const browser = await launch(['--ignore-certificate-errors']);
if (!browser) {
    console.log('no chromium, or no playwright-core: test/web/run installs it');
    process.exit(2);
}
process.on('SIGTERM', () => browser.close().then(() => process.exit(0)));
const page = await browser.newPage();

async function serve(user, password, slot, path) {
    await page.goto(url);
    await page.evaluate(() => {
        const input = document.createElement('input');
        input.type = 'file';
        input.id = 'bench';
        document.body.append(input);
    });
    await page.setInputFiles('#bench', path);
    await page.evaluate(async ([user, password, slot]) => {
        const { Api } = await import('/api.js');
        const { NbdServer, fileSource } = await import('/nbd-server.js');
        const api = new Api();
        await api.login(user, password);
        const [file] = document.getElementById('bench').files;
        const ticket = await api.ticket(slot, { name: file.name, size: file.size, lastModified: file.lastModified, samples: [] });
        await new Promise((resolve, reject) => {
            const server = new NbdServer(ticket.url, fileSource(file), {
                protocols: [ticket.protocol],
                onState: (state, detail) => {
                    if (state === 'serving')
                        resolve();
                    if (state === 'closed')
                        reject(new Error(`closed ${detail.code} ${detail.reason}`));
                },
            });
            server.start();
        });
    }, [user, password, slot]);
}

async function push(bytes) {
    await page.evaluate(([url, bytes]) => new Promise((resolve, reject) => {
        const socket = new WebSocket(url.replace('https:', 'wss:'));
        const message = new Uint8Array((256 << 10) + 16);
        let sent = 0;
        const more = () => {
            for (; socket.bufferedAmount < 32 << 20 && sent < bytes; sent += message.length)
                socket.send(message);
            if (sent < bytes)
                setTimeout(more, 1);
        };
        socket.onopen = () => {
            resolve();
            more();
        };
        socket.onerror = () => reject(new Error('the WebSocket was not opened'));
    }), [url, bytes]);
}

if (mode === 'serve')
    await serve(...words);
else
    await push(Number(words[0]));
console.log('serving');
