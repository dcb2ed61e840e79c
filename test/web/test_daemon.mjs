// The page in Chromium on the real daemon, over https and wss; a host reads
// its slots by NBD. Needs the program in the environment's NBD_PROXY.

import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { closeSync, createReadStream, existsSync, ftruncateSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, utimesSync, writeFileSync, writeSync } from 'node:fs';
import { createServer } from 'node:http';
import { get as httpsGet } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';

import { launch } from './browser.mjs';
import { Daemon, PASSWORD, program } from './daemon.mjs';
import { card, error, logIn, pick, pickAgain, state, until, watchFaults } from './page.mjs';

const MIB = 1 << 20;
const browser = program ? await launch() : null;
const skip = !program ? 'NBD_PROXY names no program' : browser ? false : 'needs chromium and playwright-core';
let folder;

before(() => {
    folder = mkdtempSync(join(tmpdir(), 'nbd-proxy-web.'));
});

after(async () => {
    rmSync(folder, { recursive: true });
    await browser?.close();
    assert.equal(Daemon.running.size, 0);
});

const settle = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex');

/** A file of chance; gives its path and its SHA-256. */
function makeImage(name, size) {
    const path = join(folder, name);
    const bytes = randomBytes(size);
    writeFileSync(path, bytes);
    return { path, size, hash: sha256(bytes) };
}

/** A test with a daemon and a page of its own; any script error or CSP violation fails it. */
function daemonTest(name, body, { settings = [], user = 'admin', timeout = 60_000 } = {}) {
    test(name, { skip, timeout }, async () => {
        const daemon = new Daemon(settings);
        const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ignoreHTTPSErrors: true });
        const page = await context.newPage();
        page.setDefaultTimeout(20_000);
        page.on('dialog', (dialog) => dialog.accept()); // leaving a page that serves
        const faults = watchFaults(page);
        try {
            await daemon.start();
            await page.goto(daemon.url);
            if (user)
                await logIn(page, user, PASSWORD);
            await body(page, daemon);
            assert.deepEqual(faults, []);
        } finally {
            await context.close();
            await daemon.stop();
            daemon.remove();
        }
    });
}

/** With the password of the account that the page had; it is tried until the daemon has seen that it is enabled again. */
async function logInAgain(page) {
    await until(async () => {
        if (await page.locator('#login').isHidden())
            return true;
        await page.locator('#login').getByLabel('Password').fill(PASSWORD);
        await page.keyboard.press('Enter');
        await settle(500);
        return page.locator('#login').isHidden();
    }, 'logged in again');
}

async function serve(page, path, name = 'slot0') {
    await state(page, 'Empty', name);
    await pick(page, name, path);
    await state(page, 'Ready', name);
}

daemonTest('a wrong password is said, the right one shows the slots', async (page) => {
    await logIn(page, 'admin', 'wrong');
    await page.getByRole('alert').filter({ hasText: 'Wrong user or password.' }).waitFor();
    await logIn(page, 'admin', PASSWORD);
    await state(page, 'Empty');
    await state(page, 'Empty', 'slot1');
    await page.getByText('admin (Administrator)').waitFor();
    assert.equal(await page.evaluate(() => /nbd-proxy/.test(document.cookie)), false);
}, { user: '' });

daemonTest('a file is read back whole by the host, and the page tells how much of it', async (page, daemon) => {
    const { path, size, hash } = makeImage('rescue grüße.iso', 24 * MIB + 123);
    await serve(page, path);
    const host = await daemon.host();
    const half = 12 * MIB;
    assert.equal(host.size, size);
    const begin = await host.hash({ to: half });
    await card(page).getByRole('img', { name: /read from (49|50|51) %/ }).waitFor();
    assert.equal(begin, sha256(readFileSync(path).subarray(0, half)));
    assert.equal(await host.hash(), hash);
    await card(page).getByRole('img', { name: /read from 100 %/ }).waitFor();
    await card(page).getByText('rescue grüße.iso').first().waitFor();
    await card(page).getByText('24.0 MiB · read-only · from this browser').waitFor();
    await card(page).getByText('MiB sent by this browser').waitFor();
    host.close();
});

/** Of a file that is larger than memory may be. */
async function fileHash(path, { from = 0, to = Infinity } = {}) {
    const hash = createHash('sha256');
    for await (const part of createReadStream(path, { highWaterMark: MIB, start: from, end: to - 1 }))
        hash.update(part);
    return hash.digest('hex');
}

/** In order, across the border of 32 bits; WEB_WHOLE=1: all of it, which takes minutes. */
const LARGE = process.env.WEB_WHOLE ? {} : { from: 2 ** 32 - 64 * MIB, to: 2 ** 32 + 64 * MIB };

// A stick with one FAT file system and GRUB's configuration in it, which a host would boot from.
function makeStick(name) {
    const path = join(folder, name), config = join(folder, 'grub.cfg');
    writeFileSync(config, 'set timeout=-1\nmenuentry a { linux /a }\nmenuentry b { linux /b }\n');
    const made = spawnSync('sh', ['-ec', `truncate -s 1M "$1"; mformat -i "$1" ::; mmd -i "$1" ::/EFI ::/EFI/BOOT; mcopy -i "$1" "$2" ::/EFI/BOOT/`,
        'sh', path, config], { encoding: 'utf8' });
    return made.status === 0 ? path : null;
}

daemonTest('a file has arguments for its kernels, also when it comes back after the page is loaded anew', async (page, daemon) => {
    const path = makeStick('stick.img');
    assert.ok(path, 'mtools makes a stick');
    const slot = card(page, 'slot1');
    const bytes = async () => {
        const host = await daemon.host('slot1');
        const all = await host.read(0, host.size);
        host.close();
        return all.toString('latin1');
    };
    const wanted = 'set default=\'b\'\nset timeout=3\nmenuentry a { linux /a mark=1 \'two words\' }\nmenuentry b { linux /b mark=1 \'two words\' }\n';
    await slot.getByText('Changes in the image').click();
    await slot.getByLabel('Menu default').fill('c');
    await pick(page, 'slot1', path);
    await error(page, 'has an entry "c" (there are: "a", "b")', 'slot1');
    await slot.getByLabel('Kernel arguments').fill('mark=1 "two');
    await pick(page, 'slot1', path);
    await error(page, 'a quote of the kernel\'s arguments is not closed', 'slot1');
    await slot.getByLabel('Kernel arguments').fill('mark=1 "two words"');
    await slot.getByLabel('Menu timeout').fill('3');
    await slot.getByLabel('Menu default').fill('b');
    await pick(page, 'slot1', path);
    await state(page, 'Ready', 'slot1');
    assert.ok((await bytes()).includes(wanted));
    await page.reload();
    await pickAgain(page, 'slot1', path);
    await state(page, 'Ready', 'slot1');
    assert.ok((await bytes()).includes(wanted));
});

daemonTest('a sparse file of 5 GiB is read back', async (page, daemon) => {
    const path = join(folder, 'large.img');
    const size = 5 * 1024 * MIB + 512;
    const pieces = [0, 65_536 * 3, 2 ** 32 - 4096, 2 ** 32 + 123_456, size - 70_000].map((at) => [at, randomBytes(70_000)]);
    const file = openSync(path, 'w');
    ftruncateSync(file, size);
    for (const [at, bytes] of pieces)
        writeSync(file, bytes, 0, bytes.length, at);
    closeSync(file);
    await serve(page, path, 'slot1');
    const host = await daemon.host('slot1');
    assert.equal(host.size, size);
    for (const [at, bytes] of pieces)
        assert.ok((await host.read(at, bytes.length)).equals(bytes), `at ${at}`);
    const many = await Promise.all(Array.from({ length: 64 }, (_, i) => host.read(2 ** 32 + (64 - i) * 500_000, 4096)));
    assert.ok(many.every((bytes) => bytes.every((byte) => byte === 0)));
    await card(page, 'slot1').getByText('5.0 GiB · read-only').waitFor();
    const [found, wanted] = await Promise.all([host.hash({ ...LARGE, piece: MIB, ahead: 8 }), fileHash(path, LARGE)]);
    assert.equal(found, wanted);
    if (process.env.WEB_WHOLE)
        await card(page, 'slot1').getByRole('img', { name: /read from 100 %/ }).waitFor();
    host.close();
    rmSync(path);
}, { timeout: 900_000 });

daemonTest('a reload in the middle of reading: the host waits for the same file, and goes on', async (page, daemon) => {
    const { path, hash } = makeImage('reload.iso', 48 * MIB);
    await serve(page, path);
    const host = await daemon.host();
    let back = null;
    const waits = async () => {
        await card(page).getByText('The host waits for reload.iso').waitFor();
        assert.equal(await card(page).getByRole('alert').isVisible(), false); // that the connection ended is no news
    };
    const whole = await host.hash({ between: (at) => {
        if (at === 8 * MIB)
            back = page.reload().then(() => waits()).then(() => pickAgain(page, 'slot0', path));
        return settle(back ? 0 : 2);
    } });
    await back;
    assert.equal(whole, hash);
    await state(page, 'Ready');
    await card(page).getByText('from this browser').waitFor();
    assert.equal((await daemon.slot()).error ?? '', '');
    host.close();
});

daemonTest('while the host waits another file by the same name is refused', async (page, daemon) => {
    const { path, size, hash } = makeImage('changed.iso', 3 * MIB);
    const right = readFileSync(path), then = 1_700_000_000; // a time that a file can have in each of its places
    utimesSync(path, then, then);
    await serve(page, path);
    const host = await daemon.host();
    await host.read(0, 4096);
    await page.reload();
    await card(page).getByText('The host waits for changed.iso').waitFor();
    await state(page, 'Waiting for the browser');
    writeFileSync(path, randomBytes(size));
    utimesSync(path, then, then);
    await pickAgain(page, 'slot0', path);
    await error(page, 'waits for another file');
    const reading = host.hash();
    writeFileSync(path, right);
    utimesSync(path, then, then);
    await pickAgain(page, 'slot0', path);
    await state(page, 'Ready');
    assert.equal(await reading, hash);
    assert.equal(await card(page).getByRole('alert').count(), 0);
    host.close();
});

daemonTest('who leaves the page and does not come back in time finds the slot empty, and nothing has failed', async (page, daemon) => {
    const { path } = makeImage('late.iso', 3 * MIB);
    await serve(page, path);
    await page.reload();
    await state(page, 'Waiting');
    await state(page, 'Empty');
    await card(page).getByText('was inserted from this tab').waitFor();
    assert.equal((await daemon.slot()).error, null);
    assert.equal(await card(page).getByRole('alert').isVisible(), false);
}, { settings: ['slot.slot0.reconnect-grace=2s'] });

/** Another tab of the page's browser; `streams` of a tab counts its event streams. */
async function tab(page, { url, prepare = () => {} }) {
    const one = await page.context().newPage();
    one.streams = 0;
    one.on('request', (request) => { one.streams += request.url().endsWith('/api/events'); });
    await prepare(one);
    await one.goto(url);
    return one;
}

daemonTest('eight tabs share one event stream, and go on when the tab that has it closes', async (page, daemon) => {
    const tabs = [];
    await state(page, 'Empty');
    for (let i = 0; i < 8; i++) {
        tabs.push(await tab(page, daemon));
        await state(tabs[i], 'Empty');
    }
    const { path } = makeImage('tabs.iso', MIB);
    await daemon.command(`insert 0 ${path}`);
    await Promise.all(tabs.map((one) => state(one, 'Ready')));
    assert.deepEqual(tabs.map((one) => one.streams), tabs.map(() => 0)); // the first page has it
    await page.close();
    await until(() => tabs.some((one) => one.streams), 'the next stream');
    await daemon.command('eject 0');
    await Promise.all(tabs.map((one) => state(one, 'Empty')));
    assert.equal(tabs.reduce((sum, one) => sum + one.streams, 0), 1);
});

daemonTest('a browser without locks has a stream for each tab', async (page, daemon) => {
    await state(page, 'Empty'); // the login is done
    const prepare = (one) => one.addInitScript(() => Object.defineProperty(navigator, 'locks', { value: undefined }));
    for (let i = 0; i < 2; i++) {
        const one = await tab(page, { url: daemon.url, prepare });
        await state(one, 'Empty');
        await until(() => one.streams === 1, 'its stream');
    }
});

daemonTest('a stream that a proxy holds back: the page asks for the slots, and another tab has a stream in its place', async (page, daemon) => {
    const { path } = makeImage('silent.iso', MIB);
    await state(page, 'Empty');
    await page.route('**/api/events', () => {}); // never answered
    await page.reload();
    await state(page, 'Empty');
    await daemon.command(`insert 0 ${path}`);
    await state(page, 'Ready');
    assert.equal(await page.locator('#offline').isVisible(), false);
    const other = await tab(page, { url: daemon.url, prepare: (one) => one.clock.install() });
    await state(other, 'Ready');
    assert.equal(other.streams, 0);
    await other.clock.runFor(40_000); // in which it hears nothing
    await until(() => other.streams === 1, 'a stream of its own');
    await page.bringToFront();
    await daemon.command('eject 0');
    await state(page, 'Empty');
});

daemonTest('two slots at once from one page', async (page, daemon) => {
    const one = makeImage('one.iso', 16 * MIB), two = makeImage('two.img', 16 * MIB);
    await serve(page, one.path, 'slot0');
    await serve(page, two.path, 'slot1');
    const hosts = [await daemon.host('slot0'), await daemon.host('slot1')];
    assert.deepEqual(await Promise.all(hosts.map((host) => host.hash())), [one.hash, two.hash]);
    for (const host of hosts)
        host.close();
});

/** A server of one file, with ranges. From hang() to goOn() it answers nothing. */
async function serveUrl(path) {
    const bytes = readFileSync(path);
    let waiting = null;
    const answer = (request, response) => {
        const [, first, last] = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '') ?? [];
        const from = Number(first ?? 0), to = last ? Math.min(Number(last), bytes.length - 1) : bytes.length - 1;
        response.writeHead(first ? 206 : 200, { 'Accept-Ranges': 'bytes', 'Content-Length': to - from + 1, ETag: '"1"',
            ...first && { 'Content-Range': `bytes ${from}-${to}/${bytes.length}` } });
        response.end(request.method === 'HEAD' ? undefined : bytes.subarray(from, to + 1));
    };
    const server = createServer((...exchange) => (waiting ? waiting.push(exchange) : answer(...exchange)));
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
    server.unref();
    return {
        url: `http://127.0.0.1:${server.address().port}/`,
        hang: () => { waiting = []; },
        goOn: () => {
            waiting.forEach((exchange) => answer(...exchange));
            waiting = null;
        },
        stop: () => { server.closeAllConnections(); server.close(); },
    };
}

daemonTest('a URL: one that fails says why, one that works is inserted, and ejected', async (page, daemon) => {
    const { path, hash } = makeImage('fetched.iso', 5 * MIB);
    const server = await serveUrl(path);
    const insert = async (url) => {
        await card(page).getByLabel('URL of the image').fill(url);
        await card(page).getByRole('button', { name: 'Insert' }).first().click();
    };
    await card(page).getByText('From a URL').click();
    await insert('http://127.0.0.1:9/nothing.iso');
    await error(page, 'http://127.0.0.1:9/nothing.iso');
    await insert(`${server.url}fetched.iso`);
    await state(page, 'Ready');
    await card(page).getByText('5.0 MiB · read-only · from a URL').waitFor();
    const host = await daemon.host();
    assert.equal(await host.hash(), hash);
    host.close();
    await card(page).getByText('5.0 MiB').nth(1).waitFor(); // read by the host
    await settle(1500); // one more event
    await card(page).getByRole('button', { name: 'Eject slot0' }).click();
    await page.getByRole('dialog').getByText('The host is reading').waitFor();
    await page.getByRole('dialog').getByRole('button', { name: 'Eject' }).click();
    await state(page, 'Empty');
    server.stop();
});

daemonTest('an insert that takes long can be cancelled, which is no failure', async (page) => {
    const silent = createServer(() => {});
    await new Promise((resolve) => silent.listen(0, '127.0.0.1', resolve));
    await card(page).getByText('From a URL').click();
    await card(page).getByLabel('URL of the image').fill(`http://127.0.0.1:${silent.address().port}/silent.iso`);
    await card(page).getByRole('button', { name: 'Insert' }).first().click();
    await state(page, 'Opening');
    await card(page).getByRole('button', { name: 'Cancel slot0' }).click();
    await state(page, 'Empty');
    await settle(1500); // one more event
    assert.equal(await card(page).getByRole('alert').count(), 0);
    silent.closeAllConnections();
    silent.close();
});

daemonTest('an eject from elsewhere is said in words, and is no error', async (page, daemon) => {
    const { path } = makeImage('ejected.iso', MIB);
    await serve(page, path);
    await daemon.command('eject slot0');
    await state(page, 'Empty');
    await card(page).getByText('Ejected', { exact: false }).first().waitFor();
    assert.equal(await card(page).getByRole('alert').count(), 0);
    assert.equal(await card(page).getByText('was inserted from this tab').isVisible(), false);
    await serve(page, path);
    await card(page).getByRole('button', { name: 'Eject slot0' }).click();
    await state(page, 'Empty');
});

daemonTest('an account that is disabled loses what its browser serves, and is told why', async (page, daemon) => {
    const { path, hash } = makeImage('revoked.iso', MIB);
    await serve(page, path);
    daemon.account('operator', '', '--disable');
    await page.getByRole('alert').filter({ hasText: 'The session has ended.' }).waitFor();
    await until(async () => (await daemon.slot()).state === 'empty', 'the slot is empty');
    daemon.account('operator', '', '--enable');
    await logInAgain(page);
    await error(page, 'Not allowed: the login of the browser\'s user has ended');
    await card(page).getByRole('button', { name: 'Insert it again' }).click();
    await state(page, 'Ready');
    const host = await daemon.host();
    assert.equal(await host.hash(), hash);
    host.close();
}, { user: 'operator' });

daemonTest('what the host waits for is said, what it did not get until that is dismissed, and that the BMC is away', async (page, daemon) => {
    const server = await serveUrl(makeImage('hangs.iso', 64 * MIB).path);
    await daemon.command(`insert slot0 ${server.url}hangs.iso`);
    const host = await daemon.host();
    await state(page, 'Ready');
    await host.read(0, 4096);
    server.hang();
    const failed = assert.rejects(host.read(48 * MIB, 4096), { nbdError: 5 });
    await state(page, /^Host waits for data, [23] s$/);
    assert.equal(await card(page).locator('[data-part=state]').getAttribute('data-state'), 'stalled');
    await card(page).getByText(/^Host waits for data, \d s\. Its source has not answered yet\.$/).waitFor();
    assert.match((await daemon.command('status')).join('\n'), /the host waits for data, \d s/);
    await failed;
    await state(page, 'Not readable now');
    await error(page, 'no answer within io-timeout');
    await card(page).getByText(new RegExp(`^1 read failed, last at \\d\\d:\\d\\d, offset ${48 * MIB}\\.$`)).waitFor();
    const words = card(page).getByText(new RegExp(`^1 read failed, last at \\d\\d:\\d\\d, offset ${48 * MIB}: .*no answer within io-timeout`));
    server.goOn();
    await until(() => host.read(48 * MIB, 4096).then(() => true, () => false), 'the server to answer');
    await page.reload();
    await words.waitFor(); // though all is well
    assert.equal(await card(page).getByRole('alert').filter({ hasText: 'io-timeout' }).isVisible(), false); // it is said once
    await card(page).getByRole('button', { name: 'Dismiss' }).click();
    await words.waitFor({ state: 'hidden' });
    await page.reload();
    await state(page, 'Ready');
    assert.equal(await words.isVisible(), false);
    const figures = await card(page).locator('[data-part=figures]').innerText();
    assert.match(figures, /Mean since the insert\s+[\d.]+ (Ki|Mi)?B\/s/);
    assert.match(figures, /Reads that waited\s+\d+ %/);
    assert.match(figures, /Round trip\s+(< )?[\d.]+ ms/);
    host.close();
    server.stop();
    await daemon.stop();
    await state(page, 'The BMC is away');
    const eject = card(page).getByRole('button', { name: 'Eject' });
    assert.equal(await eject.getAttribute('aria-disabled'), 'true');
    await eject.click({ force: true });
    await card(page).getByText('The BMC does not answer: this is what it said last.').waitFor();
    await settle(4000); // the stream is tried again, in vain
    await state(page, 'The BMC is away');
    assert.equal(await card(page).getAttribute('aria-busy'), 'false'); // it sleeps
}, { settings: ['http.io-timeout=4s'] });

daemonTest('a daemon that is stopped and started again: the page says so, and what it serves comes back', async (page, daemon) => {
    const { path, hash } = makeImage('stopped.iso', MIB);
    await serve(page, path);
    const { port } = daemon;
    await daemon.stop();
    await card(page).getByText('The connection to the BMC was lost. Trying again').waitFor();
    await page.getByText('The BMC does not answer.').waitFor();
    await daemon.start(port);
    await until(async () => (await daemon.slot()).state === 'ready', 'the medium is in again');
    await state(page, 'Ready');
    assert.equal(await page.locator('#login').isVisible(), false);
    const host = await daemon.host();
    assert.equal(await host.hash(), hash);
    host.close();
    await daemon.stop();
    await page.getByText('The BMC does not answer.').waitFor();
    daemon.account('operator', '', '--disable');
    await daemon.start(port);
    await page.getByRole('alert').filter({ hasText: 'The session has ended.' }).waitFor(); // the right was looked at again
    assert.equal((await daemon.slot()).state, 'empty');
}, { user: 'operator' });

daemonTest('a login that ends soon is said; who logs in again keeps what another tab serves, and log out asks about that', async (page, daemon) => {
    const { path, hash } = makeImage('kept.iso', MIB);
    await serve(page, path);
    const other = await page.context().newPage();
    await other.goto(daemon.url);
    await other.getByText('This login ends in').waitFor();
    await other.getByRole('button', { name: 'Log in again' }).click();
    assert.equal(await other.locator('#login').getByLabel('User').inputValue(), 'admin');
    await other.locator('#login').getByLabel('Password').fill(PASSWORD);
    await other.keyboard.press('Enter');
    await state(other, 'Ready');
    await page.bringToFront(); // it has the token of before, and learns of the other
    await card(page, 'slot1').getByText('Settings for the host').click();
    await card(page, 'slot1').getByLabel('Files, 40 KiB').setInputFiles({ name: 'user-data', mimeType: 'text/plain', buffer: Buffer.from('#cloud-config\n') });
    await card(page, 'slot1').getByRole('button', { name: 'Insert' }).last().click();
    await state(page, 'Ready', 'slot1');
    await other.bringToFront();
    await other.getByRole('button', { name: 'Log out' }).click();
    await other.getByRole('dialog').getByText('This browser, in this tab or another one, serves kept.iso in slot0. Logging out ends that.').waitFor();
    await other.getByRole('dialog').getByRole('button', { name: 'Cancel' }).click();
    const host = await daemon.host();
    assert.equal(await host.hash(), hash);
    host.close();
    await other.getByRole('button', { name: 'Log out' }).click();
    await other.getByRole('dialog').getByRole('button', { name: 'Log out' }).click();
    await other.locator('#login').waitFor();
    await until(async () => (await daemon.slot()).state === 'empty', 'the slot is empty');
}, { settings: ['web.session-age=5m'] });

daemonTest('who comes too late is told who has the slot; an old failure has its time, and is dismissed for good', async (page, daemon) => {
    const { path } = makeImage('first.iso', MIB);
    const server = await serveUrl(path);
    const insert = async (on, url) => {
        if (!await card(on).getByLabel('URL of the image').isVisible())
            await card(on).locator('summary', { hasText: 'From a URL' }).click();
        await card(on).getByLabel('URL of the image').fill(url);
        await card(on).getByRole('button', { name: 'Insert' }).first().click();
    };
    await page.route('**/api/events', (route) => route.abort()); // it has not heard of the other
    await page.route('**/api/slots', (route) => route.abort());
    const other = await (await browser.newContext({ ignoreHTTPSErrors: true })).newPage();
    await other.goto(daemon.url);
    await logIn(other, 'operator', PASSWORD);
    await insert(other, `${server.url}first.iso`);
    await state(other, 'Ready');
    const answer = await page.evaluate(async (url) => {
        const { csrf } = await (await fetch('api/session')).json();
        return (await fetch('api/slots/slot0/insert', { method: 'POST', body: JSON.stringify({ url }),
            headers: { 'Content-Type': 'application/json', 'X-CSRF-Token': csrf } })).json();
    }, `${server.url}second.iso`);
    assert.match(answer.error, /already has a medium: first\.iso, by operator/);
    await page.unroute('**/api/slots');
    await page.unroute('**/api/events');
    await state(page, 'Ready');
    await daemon.command('eject slot0');
    await state(page, 'Empty');
    await insert(page, 'http://127.0.0.1:9/nothing.iso');
    await error(page, '127.0.0.1:9');
    await page.reload();
    await error(page, /^\s*\d\d:\d\d: .*127\.0\.0\.1:9/);
    await card(page).getByRole('button', { name: 'Dismiss what failed in slot0' }).click();
    await card(page).getByRole('alert').waitFor({ state: 'hidden' });
    await page.reload();
    await state(page, 'Empty');
    await page.getByText('Nothing is stored. ').waitFor();
    assert.equal(await card(page).getByRole('alert').isVisible(), false);
    await error(other, '127.0.0.1:9'); // for whom it is news
    await other.context().close();
    server.stop();
});

daemonTest('a page and a login too many say why', async (page, daemon) => {
    const asks = { headers: { Authorization: `Basic ${Buffer.from(`operator:${PASSWORD}`).toString('base64')}` }, rejectUnauthorized: false };
    const streams = await Promise.all(Array.from({ length: 15 }, () => new Promise((resolve, reject) => {
        const request = httpsGet(`${daemon.url}api/events`, asks, (response) => resolve({ request, status: response.statusCode }));
        request.on('error', reject);
    })));
    assert.deepEqual(new Set(streams.map(({ status }) => status)), new Set([200]));
    const context = await browser.newContext({ ignoreHTTPSErrors: true });
    const other = await context.newPage();
    await other.goto(daemon.url);
    await logIn(other, 'operator', PASSWORD);
    await other.getByText('Too many pages are open: this one asks for news every few seconds.').waitFor();
    await state(other, 'Empty');
    assert.equal(await other.getByText('The BMC does not answer.').isVisible(), false);
    for (const { request } of streams) {
        request.on('error', () => {});
        request.destroy();
    }
    await other.getByText('Too many pages are open').waitFor({ state: 'hidden' });
    const answers = [];
    for (let i = 0; i < 8; i++)
        answers.push(await other.request.post(`${daemon.url}api/session`, { data: { user: 'admin', password: PASSWORD }, headers: { Cookie: 'x=y' } }));
    assert.equal(answers.at(-1).status(), 503);
    assert.match((await answers.at(-1).json()).error, /Too many sessions are in use, of this account or of all: log out or close a page/);
    await context.close();
});

daemonTest('a file that changes while it is uploaded, and a login that is over: said at once, and gone on with', async (page, daemon) => {
    const { path } = makeImage('changing.iso', 40 * MIB);
    const row = page.getByRole('listitem').filter({ hasText: 'changing.iso' });
    const devtools = await page.context().newCDPSession(page);
    const throttle = (uploadThroughput) => devtools.send('Network.emulateNetworkConditions',
        { offline: false, latency: 0, downloadThroughput: -1, uploadThroughput });
    await page.getByText('Nothing is stored.').waitFor();
    await throttle(4 * MIB);
    await page.getByLabel('Image to upload').setInputFiles(path);
    await row.getByText(/\d MiB of 40.0 MiB · .*left/).waitFor();
    daemon.account('operator', '', '--disable');
    await page.getByRole('alert').filter({ hasText: 'The session has ended.' }).waitFor();
    daemon.account('operator', '', '--enable');
    await logInAgain(page);
    await row.getByText(/\d MiB of 40.0 MiB · .*left/).waitFor();
    assert.equal(await page.getByText('Log in first.').isVisible(), false);
    writeFileSync(path, randomBytes(MIB));
    await throttle(-1);
    await row.getByRole('alert').filter({ hasText: 'changing.iso was changed, moved or removed while it was sent.' }).waitFor({ timeout: 5000 });
}, { user: 'operator' });

daemonTest('what the host wrote is not thrown away unasked: it is told, downloaded, and discarded', async (page, daemon) => {
    const { path } = makeImage('stick.img', 2 * MIB);
    const server = await serveUrl(path);
    await daemon.command(`insert slot1 ${server.url}stick.img writable=yes`);
    await state(page, 'Ready', 'slot1');
    assert.equal(await card(page, 'slot1').getByRole('link', { name: 'Download' }).isVisible(), false);
    const host = await daemon.host('slot1');
    await host.write(4096, Buffer.from('a dump of the firmware'));
    await card(page, 'slot1').getByText('The host has written 4.0 KiB. An eject throws that away').waitFor();
    await card(page, 'slot1').getByRole('button', { name: 'Eject slot1' }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByText('The host has written 4.0 KiB to slot1, which the image itself does not have.').waitFor();
    const [download] = await Promise.all([page.waitForEvent('download'), dialog.getByRole('button', { name: 'Download' }).click()]);
    assert.equal(download.suggestedFilename(), 'stick.img');
    const image = readFileSync(path);
    image.write('a dump of the firmware', 4096);
    assert.ok(readFileSync(await download.path()).equals(image));
    await card(page, 'slot1').getByRole('button', { name: 'Eject slot1' }).click();
    await dialog.getByRole('button', { name: 'Cancel' }).click();
    await state(page, 'Ready', 'slot1');
    await card(page, 'slot1').getByRole('button', { name: 'Eject slot1' }).click();
    await dialog.getByRole('button', { name: 'Discard and eject' }).click();
    await state(page, 'Empty', 'slot1');
    server.stop();
    await page.getByText('Make an empty USB stick').click();
    await page.getByLabel('Size in MiB').fill('48');
    await page.getByLabel('Label', { exact: true }).fill('dump');
    await page.getByRole('button', { name: 'Make it' }).click();
    const row = page.getByRole('listitem').filter({ hasText: 'DUMP.img' });
    await row.getByText('48.0 MiB').waitFor();
    await row.getByRole('link', { name: 'Download DUMP.img' }).waitFor();
});

/** packaging/nginx/prefix.conf in a server of nginx that takes requests of 1 MiB, as it does by itself. */
async function nginxBelow(daemon, port) {
    const place = join(daemon.folder, 'nginx');
    const text = readFileSync(new URL('../../packaging/nginx/prefix.conf', import.meta.url), 'utf8')
        .replaceAll('unix:/run/nbd-proxy/web.sock', `unix:${daemon.folder}/web.sock`).replace('client_max_body_size 0;', 'client_max_body_size 1m;');
    const temp = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((kind) => `${kind}_temp_path ${place}/${kind};`).join(' ');
    mkdirSync(place);
    writeFileSync(join(place, 'conf'), `user root; daemon off; pid ${place}/pid; events {} http { access_log off; ${temp}
        server { listen 127.0.0.1:${port} ssl; ssl_certificate ${daemon.folder}/certificate.pem; ssl_certificate_key ${daemon.folder}/key.pem;
            ${text} } }`);
    const nginx = spawn('nginx', ['-p', place, '-c', join(place, 'conf'), '-e', join(place, 'log')], { stdio: 'ignore' });
    await until(() => existsSync(join(place, 'pid')), 'nginx');
    return () => new Promise((resolve) => { nginx.once('exit', resolve); nginx.kill(); });
}

async function freePort() {
    const server = createServer();
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address();
    await new Promise((resolve) => server.close(resolve));
    return port;
}

const noNginx = spawnSync('nginx', ['-v']).error && 'needs nginx';

test('below a path of a proxy that takes small requests: login, events, a browser\'s file, an upload', { skip: skip || noNginx, timeout: 60_000 }, async () => {
    const daemon = new Daemon();
    daemon.settings.push(`web.listen-plain=unix:${daemon.folder}/web.sock`);
    const context = await browser.newContext({ ignoreHTTPSErrors: true });
    let stop = () => {};
    try {
        await daemon.start();
        const port = await freePort();
        stop = await nginxBelow(daemon, port);
        const page = await context.newPage();
        page.setDefaultTimeout(20_000);
        const faults = watchFaults(page), refused = [];
        page.on('response', (response) => response.status() === 413 && refused.push(response.url()));
        await page.goto(`https://127.0.0.1:${port}/vm`);
        assert.equal(page.url(), `https://127.0.0.1:${port}/vm/`);
        await logIn(page, 'admin', PASSWORD);
        const { path, hash } = makeImage('below.iso', 5 * MIB);
        await serve(page, path);
        const host = await daemon.host();
        assert.equal(await host.hash(), hash);
        host.close();
        await daemon.command('eject slot0');
        await state(page, 'Empty');
        await page.getByLabel('Image to upload').setInputFiles(path);
        await page.getByRole('listitem').filter({ hasText: 'below.iso' }).getByText(`SHA-256 ${hash}`).waitFor();
        assert.ok(refused.length > 0);
        assert.deepEqual(faults, []);
    } finally {
        await context.close();
        await stop();
        await daemon.stop();
        daemon.remove();
    }
});

daemonTest('an upload that is cut by a reload goes on, is checked, and inserted', async (page, daemon) => {
    const { path, hash } = makeImage('stored image.iso', 24 * MIB);
    const row = page.getByRole('listitem').filter({ hasText: 'stored image.iso' });
    const devtools = await page.context().newCDPSession(page);
    const throttle = (uploadThroughput) => devtools.send('Network.emulateNetworkConditions',
        { offline: false, latency: 0, downloadThroughput: -1, uploadThroughput });
    await page.getByText('Nothing is stored.').waitFor();
    await throttle(4 * MIB);
    await page.getByLabel('Image to upload').setInputFiles(path);
    await row.getByText(/\d MiB of 24.0 MiB · .*left/).waitFor();
    await throttle(-1);
    await page.reload();
    await row.getByText(/Incomplete: .* of 24.0 MiB/).waitFor();
    assert.doesNotMatch(await row.textContent(), /Incomplete: 0 B/);
    await page.getByLabel('Image to upload').setInputFiles(path);
    await row.getByText(`SHA-256 ${hash}`).waitFor();
    await card(page).getByText('Stored on the BMC').click();
    await card(page).locator('select[name=upload]').selectOption('stored image.iso');
    await card(page).getByRole('button', { name: 'Insert' }).last().click();
    await state(page, 'Ready');
    await card(page).getByText('stored image.iso', { exact: true }).first().waitFor();
    await card(page).getByText('24.0 MiB · read-only · stored on the BMC').waitFor();
    const host = await daemon.host();
    assert.equal(await host.hash(), hash);
    host.close();
    await row.getByRole('button', { name: 'Delete' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
    await page.getByRole('alert').filter({ hasText: 'inserted' }).waitFor();
    await daemon.command('eject slot0');
    await row.getByRole('button', { name: 'Delete' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
    await row.waitFor({ state: 'detached' });
});

daemonTest('who may only read sees what is inserted, and no way to change it', async (page, daemon) => {
    const { path } = makeImage('seen.iso', MIB);
    const server = await serveUrl(path);
    await daemon.command(`insert slot0 ${server.url}seen.iso`);
    await state(page, 'Ready');
    await page.getByText('Your role may look').waitFor();
    assert.deepEqual(await page.getByRole('button').allTextContents(), ['Log out']);
    await page.getByRole('button', { name: 'Log out' }).click();
    await page.locator('#login').waitFor();
    await page.reload();
    await page.locator('#login').waitFor();
    server.stop();
}, { user: 'guest' });
