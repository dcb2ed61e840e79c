// webui-vue's way to our own web server, in Chromium: a login by Redfish as its page does it, whose cookies the browser
// keeps, and then its NBD server, unmodified, at /vm/0/0. Needs the program in the environment's NBD_PROXY.

import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { launch } from './browser.mjs';
import { Daemon, PASSWORD, program } from './daemon.mjs';
import { until } from './page.mjs';

const SERVER = readFileSync(fileURLToPath(new URL('webui-vue/NBDServer.js', import.meta.url)), 'utf8');
const PAGE = `<!DOCTYPE html><input type="file" autocomplete="off"><script type="module">
import NBDServer from '/webui/NBDServer.js';
const cookie = (name) => document.cookie.split('; ').find((one) => one.startsWith(name + '='))?.slice(name.length + 1);
const token = () => cookie('XSRF-TOKEN') ? { 'X-XSRF-TOKEN': cookie('XSRF-TOKEN') } : {}; // axios sends it by itself
const send = (method, url, body, beside = token()) => fetch(url, { method, body: body && JSON.stringify(body), headers: {
    Accept: 'application/json', 'X-Requested-With': 'XMLHttpRequest', 'Content-Type': 'application/json', ...beside } });
window.login = async (user, password) => {
    const answer = await send('POST', '/redfish/v1/SessionService/Sessions', { UserName: user, Password: password });
    window.session = answer.headers.get('Location');
    return answer.status;
};
window.ask = async (method, url, beside) => (await send(method, url, undefined, beside)).status;
window.cookies = () => document.cookie;
document.querySelector('input').onchange = (event) => {
    window.nbd = new NBDServer('wss://' + location.host + '/vm/0/0', event.target.files[0], 0, cookie('XSRF-TOKEN'));
    window.nbd.socketClosed = (code) => { window.ended = code; };
    window.nbd.start();
};</script>`;

const browser = program ? await launch() : null;
const skip = !program ? 'NBD_PROXY names no program' : browser ? false : 'needs chromium and playwright-core';
after(() => browser?.close());

/** The page as a front proxy serves it beside the daemon: one host for both. */
async function openPage(context, daemon) {
    const page = await context.newPage();
    await page.route('**/webui/*', (route) => route.fulfill(route.request().url().endsWith('.js')
        ? { contentType: 'text/javascript', body: SERVER } : { contentType: 'text/html', body: PAGE }));
    await page.goto(`${daemon.url}webui/index.html`);
    return page;
}

test("webui-vue logs in by Redfish, serves a file, stops, and logs out", { skip, timeout: 60_000 }, async () => {
    const folder = mkdtempSync(join(tmpdir(), 'npw-')), daemon = new Daemon();
    const path = join(folder, 'image.iso'), bytes = randomBytes(10_000_000);
    writeFileSync(path, bytes);
    // The page comes of no address, and the daemon has one of this machine.
    const context = await browser.newContext({ ignoreHTTPSErrors: true, permissions: ['local-network-access'] });
    try {
        await daemon.start();
        const page = await openPage(context, daemon);
        const media = '/redfish/v1/Managers/bmc/VirtualMedia';
        assert.equal(await page.evaluate((url) => window.ask('GET', url), media), 401);
        assert.equal(await page.evaluate((password) => window.login('admin', password), PASSWORD), 201);
        assert.match(await page.evaluate(() => window.cookies()), /^XSRF-TOKEN=[\w-]{43}$/); // the other is HttpOnly
        assert.equal(await page.evaluate((url) => window.ask('GET', url), media), 200);
        assert.equal(await page.evaluate((url) => window.ask('GET', url, {}), media), 401); // no cookie by itself
        await page.setInputFiles('input', path);
        await until(async () => (await daemon.slot()).state === 'ready', 'the slot is ready');
        const host = await daemon.host();
        assert.equal(await host.hash({ piece: 1 << 20, ahead: 2 }), createHash('sha256').update(bytes).digest('hex'));
        host.close();
        await page.evaluate(() => window.nbd.stop());
        await page.waitForFunction(() => window.ended !== undefined);
        assert.equal(await page.evaluate(() => window.ended), 1000);
        await until(async () => (await daemon.slot()).state === 'empty', 'the slot is empty');
        assert.equal((await daemon.slot()).error, null);
        assert.equal(await page.evaluate(() => window.ask('DELETE', window.session)), 204);
        assert.equal(await page.evaluate(() => window.cookies()), '');
        assert.equal(await page.evaluate((url) => window.ask('GET', url), media), 401);
    } finally {
        await context.close();
        await daemon.stop();
        daemon.remove();
        rmSync(folder, { recursive: true });
    }
});
