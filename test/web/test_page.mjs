// The page in Chromium against the mock daemon, whose NBD client really reads.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, truncateSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';

import { launch } from './browser.mjs';
import { MockDaemon } from './mock.mjs';
import { pattern } from './nbd_client.mjs';
import { card, error, logIn, pick, pickAgain, state, until, watchFaults } from './page.mjs';

const browser = await launch();
const skip = browser ? false : 'needs chromium and playwright-core';
const SIZE = 300_001;
let folder, image;

before(() => {
    folder = mkdtempSync(join(tmpdir(), 'nbd-proxy-web.'));
    image = join(folder, 'rescue grüße.iso');
    writeFileSync(image, pattern(0, SIZE));
});

after(async () => {
    rmSync(folder, { recursive: true });
    await browser?.close();
    assert.equal(MockDaemon.running.size, 0);
});

/** A test with a daemon and a page of its own; any script error or CSP violation fails it. */
function pageTest(name, body, options = {}) {
    test(name, { skip, timeout: 60_000 }, async () => {
        const daemon = await new MockDaemon().start();
        const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
        const page = await context.newPage();
        page.setDefaultTimeout(10_000);
        const faults = watchFaults(page);
        try {
            await page.goto(daemon.url);
            await body(page, daemon);
            assert.deepEqual(faults, []);
        } finally {
            await context.close();
            await daemon.stop();
        }
    });
}

const pickFile = (page, path = image, name = 'slot0') => pick(page, name, path);

async function serveFile(page, daemon, name = 'slot0') {
    await logIn(page);
    await pickFile(page, image, name);
    await state(page, 'Ready', name);
}

pageTest('a wrong password is said, the right one shows the slots', async (page, daemon) => {
    await logIn(page, 'admin', 'wrong');
    await page.getByRole('alert').filter({ hasText: 'Wrong user or password.' }).waitFor();
    assert.equal(await card(page).count(), 0);
    await page.getByLabel('Password').fill('right');
    await page.keyboard.press('Enter');
    await state(page, 'Empty');
    assert.equal(await page.getByRole('article').count(), 2);
    const stored = await page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie, location.href]));
    assert.doesNotMatch(stored, /right|csrf|SESSION/i);
});

pageTest('what gets in by itself is shown with its next try, and can be ended', async (page, daemon) => {
    await logIn(page);
    await state(page, 'Empty');
    const box = card(page).locator('[data-part=awaited]');
    assert.equal(await box.isVisible(), false);
    daemon.set('slot0', { error: 'no route to host', awaited: { image: 'https://images/a.iso', tries: 3, inSeconds: 12 } });
    await box.getByText('https://images/a.iso is not in yet. It is tried again in 12 s.').waitFor();
    await error(page, 'no route to host');
    await box.getByRole('button', { name: 'Stop trying slot0' }).click();
    await box.waitFor({ state: 'hidden' });
});

pageTest('a file is inserted and read back whole, out of order, one message each', async (page, daemon) => {
    await serveFile(page, daemon);
    assert.equal(daemon.slot('slot0').public.size, SIZE);
    const piece = 40_000;
    const offsets = Array.from({ length: Math.ceil(SIZE / piece) }, (_, i) => i * piece).reverse();
    const before = daemon.slot('slot0').socket.messages;
    const parts = await Promise.all(offsets.map((at) => daemon.hostRead('slot0', at, Math.min(piece, SIZE - at))));
    await card(page).locator('[data-part=rate]', { hasText: /^[1-9].* [KM]iB\/s$/ }).waitFor();
    const hash = createHash('sha256').update(Buffer.concat(parts.reverse())).digest('hex');
    assert.equal(hash, createHash('sha256').update(pattern(0, SIZE)).digest('hex'));
    assert.equal(daemon.slot('slot0').socket.messages - before, offsets.length);
    await card(page).getByText('rescue grüße.iso').first().waitFor();
    await card(page).getByText('293 KiB sent by this browser').waitFor();
    await card(page).getByRole('img', { name: /read from 100 %/ }).waitFor();
    const { identity } = daemon.slot('slot0');
    assert.equal(identity.samples.length, 8);
    assert.equal(identity.samples[0], createHash('sha256').update(pattern(0, 65536)).digest('hex'));
    assert.equal(identity.samples[7], createHash('sha256').update(pattern(SIZE - 65536, 65536)).digest('hex'));
});

pageTest('two slots at once', async (page, daemon) => {
    await serveFile(page, daemon);
    const other = join(folder, 'other.img');
    writeFileSync(other, pattern(7, 5000));
    await pickFile(page, other, 'slot1');
    await state(page, 'Ready', 'slot1');
    const [a, b] = await Promise.all([daemon.hostRead('slot0', 10, 100), daemon.hostRead('slot1', 10, 100)]);
    assert.deepEqual([...a], [...pattern(10, 100)]);
    assert.deepEqual([...b], [...pattern(17, 100)]);
});

pageTest('a file beyond 4 GiB is read at its end', async (page, daemon) => {
    const large = join(folder, 'large.img');
    const size = 5 * 2 ** 30 + 123;
    writeFileSync(large, '');
    truncateSync(large, size);
    await logIn(page);
    await pickFile(page, large, 'slot1');
    await state(page, 'Ready', 'slot1');
    assert.equal(daemon.slot('slot1').public.size, size);
    assert.equal((await daemon.hostRead('slot1', size - 1000, 1000)).length, 1000);
    await assert.rejects(daemon.slot('slot1').nbd.read(size - 10, 20), { nbdError: 22 });
    assert.equal((await daemon.hostRead('slot1', 2 ** 32 - 5, 10)).length, 10);
});

pageTest('a file that changes on the disk: an I/O error for the read, words on the page', async (page, daemon) => {
    const changing = join(folder, 'changing.iso');
    writeFileSync(changing, pattern(0, 5000));
    await logIn(page);
    await pickFile(page, changing);
    await state(page, 'Ready');
    writeFileSync(changing, pattern(1, 6000));
    utimesSync(changing, new Date(), new Date(Date.now() + 60_000));
    await assert.rejects(daemon.hostRead('slot0', 0, 100), { nbdError: 5 });
    await card(page).getByText(/a read failed/).waitFor();
    await state(page, 'Ready');
});

pageTest('an empty file is refused', async (page) => {
    const empty = join(folder, 'empty.iso');
    writeFileSync(empty, '');
    await logIn(page);
    await pickFile(page, empty);
    await error(page, 'empty.iso is empty.');
});

pageTest('a file dropped on a slot is inserted; one dropped beside it does nothing', async (page, daemon) => {
    await logIn(page);
    await state(page, 'Empty');
    const transfer = await page.evaluateHandle(() => {
        const data = new DataTransfer();
        data.items.add(new File(['hello image'], 'dropped.iso', { lastModified: 5 }));
        return data;
    });
    await page.dispatchEvent('h1', 'drop', { dataTransfer: transfer });
    for (const event of ['dragenter', 'dragover', 'drop'])
        await card(page).locator('.drop').dispatchEvent(event, { dataTransfer: transfer });
    await state(page, 'Ready');
    assert.equal((await daemon.hostRead('slot0', 6, 5)).toString(), 'image');
    assert.equal(daemon.slot('slot0').identity.lastModified, 5);
});

function makeFolder(name) {
    const path = join(folder, name);
    mkdirSync(join(path, 'sub', 'deeper'), { recursive: true });
    for (const [file, text] of [['hello.txt', 'hello host'], ['sub/empty', ''], ['sub/deeper/größe.bin', 'deep inside']]) {
        writeFileSync(join(path, file), text);
        utimesSync(join(path, file), 1_700_000_000, 1_700_000_000);
    }
    return path;
}

/** The names and contents that an ISO 9660 reader would find, roughly: the volume, and the bytes. */
async function checkFolderImage(daemon, volume) {
    const { size } = daemon.slot('slot0').public;
    const bytes = await daemon.hostRead('slot0', 0, size);
    assert.equal(bytes.toString('latin1', 32768, 32774), '\x01CD001');
    assert.equal(bytes.toString('latin1', 32768 + 40, 32768 + 72).trim(), volume);
    for (const text of ['hello host', 'deep inside', 'GROSSE.BIN;1'])
        assert.ok(bytes.includes(text), text);
    assert.ok(bytes.includes(Buffer.from('größe.bin;1', 'utf16le').swap16()));
}

pageTest('a picked folder is a CD image, and comes back after a reload', async (page, daemon) => {
    daemon.graceMs = 20_000;
    const path = makeFolder('my drivers');
    await logIn(page);
    await card(page).getByLabel('Folder for slot0').setInputFiles(path);
    await state(page, 'Ready');
    await card(page).getByText('my drivers.iso', { exact: true }).waitFor();
    await checkFolderImage(daemon, 'MY_DRIVERS');
    page.on('dialog', (dialog) => dialog.accept());
    await page.reload();
    writeFileSync(join(path, 'hello.txt'), 'other host');
    await pickAgain(page, 'slot0', path);
    await error(page, 'This is not the folder that was inserted: it was changed since.');
    makeFolder('my drivers');
    await pickAgain(page, 'slot0', path);
    await state(page, 'Ready');
    await checkFolderImage(daemon, 'MY_DRIVERS');
});

pageTest('a dropped folder is a CD image', async (page, daemon) => {
    const path = makeFolder('dropped folder');
    await logIn(page);
    await state(page, 'Empty');
    const { x, y } = await card(page).locator('.drop').boundingBox();
    const devtools = await page.context().newCDPSession(page);
    for (const type of ['dragEnter', 'dragOver', 'drop'])
        await devtools.send('Input.dispatchDragEvent', { type, x: x + 5, y: y + 5, data: { items: [], files: [path], dragOperationsMask: 1 } });
    await state(page, 'Ready');
    await checkFolderImage(daemon, 'DROPPED_FOLDER');
});

pageTest('several dropped files are one CD image', async (page, daemon) => {
    await logIn(page);
    await state(page, 'Empty');
    const transfer = await page.evaluateHandle(() => {
        const data = new DataTransfer();
        data.items.add(new File(['hello host'], 'a.txt'));
        data.items.add(new File(['deep inside'], 'größe.bin'));
        return data;
    });
    await card(page).locator('.drop').dispatchEvent('drop', { dataTransfer: transfer });
    await state(page, 'Ready');
    await checkFolderImage(daemon, 'FILES');
});

pageTest('a URL that fails says why, one that works is inserted', async (page, daemon) => {
    await logIn(page);
    await card(page, 'slot1').getByText('From a URL').click();
    await card(page, 'slot1').getByLabel('URL of the image').fill('https://images.example.com/missing.iso');
    await card(page, 'slot1').getByRole('button', { name: 'Insert' }).first().click();
    await error(page, 'the server answered 404 Not Found', 'slot1');
    await card(page, 'slot1').getByLabel('URL of the image').fill('https://images.example.com/<script>alert(1)</script>.iso');
    await card(page, 'slot1').getByLabel('Password').fill('secret');
    await card(page, 'slot1').getByLabel('Write-protected').first().uncheck();
    await card(page, 'slot1').getByText('Changes in the image').click();
    await card(page, 'slot1').getByLabel('Kernel arguments').fill('quiet a=b');
    await card(page, 'slot1').getByLabel('Menu timeout').fill('1.5');
    await card(page, 'slot1').getByLabel('URL of the image').press('Enter');
    await error(page, 'a whole number of seconds', 'slot1');
    await card(page, 'slot1').getByLabel('Menu timeout').fill('5');
    await card(page, 'slot1').getByLabel('URL of the image').press('Enter');
    await state(page, 'Ready', 'slot1');
    const { password, writable, kernelArgs, menuTimeout } = daemon.slot('slot1').inserted;
    assert.deepEqual([password, writable, kernelArgs, menuTimeout], ['secret', true, 'quiet a=b', 5]);
    await card(page, 'slot1').getByText('script>.iso').waitFor();
    await card(page, 'slot1').getByText('writable · from a URL').waitFor();
    assert.equal(await card(page, 'slot1').locator('script').count(), 0);
});

pageTest('what would be changed in an image is shown', async (page, daemon) => {
    await logIn(page);
    await card(page, 'slot1').getByText('From a URL').click();
    await card(page, 'slot1').getByLabel('URL of the image').fill('https://images.example.com/a.iso');
    await card(page, 'slot1').getByText('Changes in the image').click();
    await card(page, 'slot1').getByLabel('Kernel arguments').fill('a=1');
    await card(page, 'slot1').getByRole('button', { name: 'Show changes' }).first().click();
    await card(page, 'slot1').getByText('+ linux /vmlinuz a=1').waitFor();
    assert.equal(daemon.slot('slot1').inserted, undefined);
});

pageTest('files become a medium with settings', async (page, daemon) => {
    await logIn(page);
    await card(page).getByText('Settings for the host').click();
    const files = [{ name: 'user-data', mimeType: '', buffer: Buffer.from('\ufeff#cloud-config {serial}\n') },
        { name: 'key.bin', mimeType: '', buffer: Buffer.from([0, 1, 255]) }];
    const large = { name: 'large', mimeType: '', buffer: Buffer.alloc(40_961) };
    await card(page).getByLabel('Files, 40 KiB together').setInputFiles([large]);
    await card(page).getByRole('button', { name: 'Insert' }).last().click();
    await error(page, 'The files are larger than 40 KiB together. Upload them to the BMC as a tar, or as JSON.');
    await card(page).getByLabel('Files, 40 KiB together').setInputFiles(files);
    await card(page).getByLabel('Serial number').fill(' SN42 ');
    await card(page).getByRole('button', { name: 'Insert' }).last().click();
    await state(page, 'Ready');
    assert.deepEqual(daemon.slot('slot0').config, { serial: 'SN42', configKind: 'cidata',
        configFiles: { 'user-data': '\ufeff#cloud-config {serial}\n', 'key.bin': { base64: 'AAH/' } } });
    await card(page).getByText('made of files').waitFor();
});

pageTest('a boot profile is given, shown where something was read, and how the boot went is told', async (page, daemon) => {
    const report = { image: 'rescue.iso', ended: true, profile: 'followed', fetched: { bytes: 92 << 20, inVain: 1 << 20 },
        host: { reads: 1730, bytes: 82 << 20, failures: 0, ms: 12_340, stalls: 9, stalledMs: 810, longest: [{ waitedMs: 263 }] } };
    await logIn(page);
    await card(page, 'slot1').getByText('From a URL').click();
    await card(page, 'slot1').getByLabel('URL of the image').fill('https://images.example.com/rescue.iso');
    await card(page, 'slot1').getByLabel('URL of a boot profile').fill('https://images.example.com/rescue.json');
    await page.keyboard.press('Enter');
    await state(page, 'Ready', 'slot1');
    assert.equal(daemon.slot('slot1').inserted.profile, 'https://images.example.com/rescue.json');
    const link = card(page, 'slot1').getByRole('link', { name: 'Boot profile' });
    assert.equal(await link.isVisible(), false); // nothing was read yet
    daemon.set('slot1', { stats: { ...daemon.slot('slot1').public.stats, readBytes: 5 << 20 } });
    await link.waitFor();
    assert.deepEqual([await link.getAttribute('href'), await link.getAttribute('download')],
        ['api/slots/slot1/profile', 'rescue.iso.boot-profile']);
    daemon.slot('slot1').report = report;
    daemon.set('slot1', { state: 'empty', imageName: '', image: '', connectedVia: 'none' });
    await card(page, 'slot1').getByText('82.0 MiB of rescue.iso read in 12.3 s; 9 of 1730 reads waited, 0.8 s in all, 0.3 s at most').waitFor();
    await card(page, 'slot1').getByText('by its boot profile').waitFor();
});

pageTest('eject: at once when the host is quiet, with a question when it reads', async (page, daemon) => {
    await serveFile(page, daemon);
    await card(page).getByRole('button', { name: 'Eject slot0' }).click();
    await state(page, 'Empty');
    await card(page).getByText('Ejected: by the page').waitFor();
    await pickFile(page);
    await state(page, 'Ready');
    await daemon.hostRead('slot0', 0, 1000);
    await card(page).getByText('1000 B').first().waitFor();
    await daemon.hostRead('slot0', 0, 1000);
    await card(page).getByText('2.0 KiB').first().waitFor();
    await card(page).getByRole('button', { name: 'Eject slot0' }).click();
    await page.getByRole('dialog').getByText('The host is reading').waitFor();
    await page.keyboard.press('Escape');
    await new Promise((resolve) => setTimeout(resolve, 200)); // nothing is asked of the daemon
    assert.equal(daemon.slot('slot0').public.state, 'ready');
    await card(page).getByRole('button', { name: 'Eject slot0' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Eject' }).click();
    await state(page, 'Empty');
    assert.equal(await page.evaluate(() => sessionStorage.getItem('nbd-proxy.slots')), '{}');
});

for (const [code, reason, words] of [
    [1008, 'the session has ended', 'Not allowed: the session has ended'],
    [1011, 'the host asked for what the browser did not answer', 'The BMC had a failure: the host asked'],
    [1013, 'served by another browser', 'The slot is busy: served by another browser'],
    [4001, 'the image is not the one that was inserted', 'the image is not the one that was inserted'],
]) {
    pageTest(`close code ${code} is shown in words, and the file may be inserted again`, async (page, daemon) => {
        await serveFile(page, daemon);
        daemon.slot('slot0').socket.close(code, reason);
        await error(page, words);
        await state(page, 'Empty'); // the BMC's news come by another connection, and may be the later ones
        await card(page).getByRole('button', { name: 'Insert it again' }).click();
        await state(page, 'Ready');
        assert.equal((await daemon.hostRead('slot0', 5, 5)).length, 5);
        assert.equal(await card(page).getByRole('alert').count(), 0);
    });
}

pageTest('a ticket that is refused is said', async (page, daemon) => {
    daemon.refuseTickets = 'another browser serves this slot';
    await logIn(page);
    await pickFile(page);
    await error(page, /^Another browser serves this slot\.$/);
});

pageTest('a lost connection comes back by itself and reads go on', async (page, daemon) => {
    daemon.graceMs = 20_000;
    await serveFile(page, daemon);
    for (let round = 0; round < 2; round++) {
        await daemon.hostRead('slot0', 0, 1000);
        daemon.slot('slot0').socket.drop();
        await state(page, 'Waiting');
        await state(page, 'Ready');
    }
    assert.deepEqual([...await daemon.hostRead('slot0', 2000, 9)], [...pattern(2000, 9)]);
    await card(page).getByText('2.0 KiB sent by this browser').waitFor();
});

pageTest('a connection lost for good: the slot that was given up is not filled again unasked', async (page, daemon) => {
    daemon.graceMs = 0;
    await serveFile(page, daemon);
    daemon.slot('slot0').socket.drop();
    await error(page, 'The connection was lost, and the slot was emptied meanwhile.');
    assert.equal(daemon.slot('slot0').public.state, 'empty');
    await card(page).getByRole('button', { name: 'Insert it again' }).click();
    await state(page, 'Ready');
});

pageTest('a reload: a warning, then the same file is asked for and the slot goes on', async (page, daemon) => {
    daemon.graceMs = 20_000;
    await serveFile(page, daemon);
    const dialogs = [];
    page.on('dialog', (dialog) => {
        dialogs.push(dialog.type());
        dialog.accept();
    });
    await card(page).click(); // the browser only warns where the user did something
    await page.reload();
    assert.deepEqual(dialogs, ['beforeunload']);
    await card(page).getByText('The host waits for rescue grüße.iso').waitFor();
    const wrong = join(folder, 'wrong.iso');
    writeFileSync(wrong, 'x');
    await pickFile(page, wrong);
    await error(page, 'This is not the file that was inserted: its name is wrong.iso.');
    await pickAgain(page, 'slot0', image);
    await state(page, 'Ready');
    assert.deepEqual([...await daemon.hostRead('slot0', 100_000, 50)], [...pattern(100_000, 50)]);
});

pageTest('a reload after which the slot was given up offers the file again, or forgets it', async (page, daemon) => {
    daemon.graceMs = 50;
    await serveFile(page, daemon);
    page.on('dialog', (dialog) => dialog.accept());
    await page.reload();
    await state(page, 'Empty');
    await error(page, 'the browser did not come back');
    await card(page).getByText('was inserted from this tab').waitFor();
    await card(page).getByRole('button', { name: 'Forget it' }).click();
    await card(page).getByText('was inserted from this tab').waitFor({ state: 'hidden' });
    await page.reload();
    await state(page, 'Empty');
    assert.equal(await card(page).getByText('was inserted from this tab').isVisible(), false);
});

pageTest('no warning where nothing is served', async (page) => {
    await logIn(page);
    await state(page, 'Empty');
    let warned = false;
    page.on('dialog', (dialog) => {
        warned = true;
        dialog.accept();
    });
    await card(page).click();
    await page.reload();
    await state(page, 'Empty');
    assert.equal(warned, false);
});

pageTest('a session that ended asks for the password again; what is served goes on', async (page, daemon) => {
    await serveFile(page, daemon);
    daemon.endSessions();
    await page.getByRole('alert').filter({ hasText: 'The session has ended.' }).waitFor({ timeout: 15_000 });
    assert.equal(await page.getByText('The BMC does not answer.').isVisible(), false);
    assert.equal((await daemon.slot('slot0').nbd.read(0, 10)).length, 10);
    await page.locator('#login').getByLabel('Password').fill('right');
    await page.keyboard.press('Enter');
    await state(page, 'Ready');
    await card(page).getByText('from this browser').waitFor();
});

pageTest('what failed before is not said while the next goes in, nor to who logs in', async (page, daemon) => {
    let answer;
    const held = new Promise((resolve) => { answer = resolve; });
    await logIn(page);
    await state(page, 'Empty');
    daemon.set('slot0', { error: 'the server answered 404 Not Found' });
    await error(page, '404 Not Found');
    await page.route('**/api/slots/slot0/insert', async (route) => {
        await held;
        await route.fulfill({ status: 401, json: { error: 'Log in first.' } });
    });
    await card(page).getByText('From a URL').click();
    await card(page).getByLabel('URL of the image').fill('https://images.example.com/next.iso');
    await card(page).getByRole('button', { name: 'Insert' }).first().click();
    await card(page).getByRole('alert').waitFor({ state: 'hidden' });
    daemon.endSessions();
    answer();
    await page.getByRole('alert').filter({ hasText: 'The session has ended.' }).waitFor({ timeout: 15_000 });
    await page.locator('#login').getByLabel('Password').fill('right');
    await page.keyboard.press('Enter');
    await error(page, '404 Not Found'); // of the slot, and not "Log in first."
});

pageTest('a late answer to who is logged out leaves alone what he types', async (page, daemon) => {
    let answer;
    const held = new Promise((resolve) => { answer = resolve; });
    await page.route('**/api/slots/slot0/report', async (route) => {
        await held;
        await route.fulfill({ status: 401, json: { error: 'Log in first.' } });
    });
    await logIn(page);
    await state(page, 'Empty');
    daemon.endSessions();
    await page.getByRole('alert').filter({ hasText: 'The session has ended.' }).waitFor({ timeout: 15_000 });
    const password = page.locator('#login').getByLabel('Password');
    await password.fill('right');
    const late = page.waitForResponse('**/api/slots/slot0/report');
    answer();
    await late;
    await page.evaluate(() => new Promise((resolve) => setTimeout(resolve, 100))); // until the page has looked at it
    assert.equal(await password.inputValue(), 'right');
    await page.keyboard.press('Enter');
    await state(page, 'Empty');
});

pageTest('log out ends what is served, after a question', async (page, daemon) => {
    await serveFile(page, daemon);
    await page.getByRole('button', { name: 'Log out' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Log out' }).click();
    await page.locator('#login').waitFor();
    await until(() => daemon.slot('slot0').public.state === 'empty', 'the slot is empty');
    await page.reload();
    await page.locator('#login').waitFor();
});

pageTest('who may only read sees no way to change', async (page, daemon) => {
    daemon.set('slot1', { state: 'ready', imageName: 'x.img', size: 5, connectedVia: 'uri' });
    await logIn(page, 'guest');
    await page.getByText('Your role may look').waitFor();
    await state(page, 'Ready', 'slot1');
    assert.deepEqual(await page.getByRole('button').allTextContents(), ['Log out']);
});

pageTest('a daemon that goes and comes back is told, and found again', async (page, daemon) => {
    await logIn(page);
    await state(page, 'Empty');
    const port = Number(new URL(daemon.url).port);
    await daemon.stop();
    await page.getByText('The BMC does not answer.').waitFor();
    await daemon.start(port);
    await page.getByText('The BMC does not answer.').waitFor({ state: 'hidden', timeout: 20_000 });
    daemon.set('slot0', { state: 'ready', imageName: 'later.iso' });
    await state(page, 'Ready');
});

pageTest('an image is uploaded in pieces through a failing connection, inserted and deleted', async (page, daemon) => {
    const upload = join(folder, 'upload.img');
    writeFileSync(upload, pattern(3, 5_000_000));
    await logIn(page);
    daemon.failPieces = 2;
    daemon.pieceDelayMs = 150;
    await page.getByLabel('Image to upload').setInputFiles(upload);
    const row = page.getByRole('listitem').filter({ hasText: 'upload.img' });
    await row.getByRole('progressbar').waitFor();
    await row.getByText(`SHA-256 ${createHash('sha256').update(pattern(3, 5_000_000)).digest('hex')}`).waitFor({ timeout: 20_000 });
    await card(page, 'slot1').getByText('Stored on the BMC').click();
    await card(page, 'slot1').locator('select[name=upload]').selectOption('upload.img');
    await card(page, 'slot1').getByText('Changes in the image').click();
    await card(page, 'slot1').getByLabel('Kernel arguments').fill(' console=ttyS0 ');
    await card(page, 'slot1').getByRole('button', { name: 'Insert' }).last().click();
    await state(page, 'Ready', 'slot1');
    assert.deepEqual(daemon.slot('slot1').inserted,
        { url: 'upload:upload.img', password: undefined, writable: false, profile: undefined, kernelArgs: 'console=ttyS0',
            menuTimeout: undefined });
    await row.getByRole('button', { name: 'Delete upload.img' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
    await row.waitFor({ state: 'detached' });
    assert.equal(daemon.uploads.size, 0);
});

pageTest('an upload that was stopped goes on where it was, also after a reload', async (page, daemon) => {
    const upload = join(folder, 'stopped.img');
    writeFileSync(upload, pattern(9, 6_000_000));
    daemon.pieceDelayMs = 300;
    await logIn(page);
    await page.getByLabel('Image to upload').setInputFiles(upload);
    const row = page.getByRole('listitem').filter({ hasText: 'stopped.img' });
    await until(() => daemon.uploads.get('stopped.img')?.offset > 0, 'a first piece');
    daemon.pieceDelayMs = 5000; // none more before it is stopped
    await row.getByRole('button', { name: 'Stop' }).click();
    await row.getByText('Incomplete').waitFor();
    const { offset } = daemon.uploads.get('stopped.img');
    assert.ok(offset < 6_000_000);
    await page.reload();
    await row.getByText('Incomplete').waitFor();
    daemon.pieceDelayMs = 0;
    await page.getByLabel('Image to upload').setInputFiles(upload);
    await row.getByText(`SHA-256 ${createHash('sha256').update(pattern(9, 6_000_000)).digest('hex')}`).waitFor();
    assert.ok(!daemon.requests.includes('DELETE /api/uploads/stopped.img'));
});

pageTest('a file that is picked before the BMC said what is stored waits for that', async (page, daemon) => {
    const upload = join(folder, 'early.img');
    writeFileSync(upload, pattern(5, 300_000));
    daemon.holdUploads();
    await logIn(page);
    await page.getByLabel('Image to upload').setInputFiles(upload);
    daemon.releaseUploads();
    await page.getByRole('listitem').filter({ hasText: 'early.img' }).getByText('SHA-256').waitFor();
});

pageTest('another file by the name of half an upload starts anew', async (page, daemon) => {
    const upload = join(folder, 'half.img');
    writeFileSync(upload, pattern(1, 1000));
    daemon.uploads.set('half.img', { size: 1000, offset: 10, parts: [Buffer.alloc(10)] });
    await logIn(page);
    await page.getByText('Incomplete').waitFor();
    await page.getByLabel('Image to upload').setInputFiles(upload);
    await page.getByText(`SHA-256 ${createHash('sha256').update(pattern(1, 1000)).digest('hex')}`).waitFor();
});

pageTest('an upload that has no room, or whose name is taken, is refused', async (page, daemon) => {
    daemon.free = 100;
    await logIn(page);
    await page.getByText('100 B free.').waitFor();
    await page.getByLabel('Image to upload').setInputFiles(image);
    await page.getByRole('alert').filter({ hasText: '100 B are free' }).waitFor();
    daemon.uploads.set('taken.img', { size: 1, offset: 1, parts: [Buffer.alloc(1)] });
    const taken = join(folder, 'taken.img');
    writeFileSync(taken, 'x');
    await page.reload();
    await page.getByRole('listitem').filter({ hasText: 'taken.img' }).waitFor();
    await page.getByLabel('Image to upload').setInputFiles(taken);
    await page.getByRole('alert').filter({ hasText: 'There is an image taken.img already.' }).waitFor();
});

pageTest('at 360 pixels nothing is wider than the window, and all is there', async (page, daemon) => {
    daemon.uploads.set(`${'long-name-'.repeat(12)}.iso`, { size: 9, offset: 9, parts: [Buffer.alloc(9)] });
    await serveFile(page, daemon);
    await card(page, 'slot1').getByText('From a URL').click();
    daemon.set('slot1', { error: 'https://images.example.com/a/very/long/path/without/a/break/anywhere/'.repeat(3) });
    await error(page, 'images.example.com', 'slot1');
    const width = await page.evaluate(() => document.documentElement.scrollWidth);
    assert.ok(width <= 360, `${width} px`);
    for (const button of await page.getByRole('button').all()) {
        const box = await button.boundingBox();
        assert.ok(box && box.height >= 24 && box.x >= 0 && box.x + box.width <= 360, await button.textContent());
    }
}, { viewport: { width: 360, height: 740 } });

pageTest('everything can be reached and used by the keyboard', async (page) => {
    await page.locator('#login').waitFor();
    await page.keyboard.type('admin');
    await page.keyboard.press('Tab');
    await page.keyboard.type('right');
    await page.keyboard.press('Enter');
    await state(page, 'Empty');
    const seen = [];
    for (let i = 0; i < 30; i++) {
        await page.keyboard.press('Tab');
        seen.push(await page.evaluate(() => document.activeElement.getAttribute('aria-label') || document.activeElement.textContent.trim()));
    }
    const wanted = ['Choose a file … for slot0', 'From a URL', 'Stored on the BMC', 'Choose a file … for slot1', 'From a URL', 'Stored on the BMC', 'Upload an image …'];
    let at = 0;
    for (const text of seen)
        if (text === wanted[at])
            at++;
    assert.equal(at, wanted.length, seen.join(' | '));
});

pageTest('every field has a label, every picture a name', async (page, daemon) => {
    await serveFile(page, daemon);
    await card(page, 'slot1').getByText('From a URL').click();
    const nameless = await page.evaluate(() => [...document.querySelectorAll('input, select, button, canvas, progress')]
        .filter((element) => element.checkVisibility())
        .filter((element) => !(element.getAttribute('aria-label') || element.labels?.length || element.textContent.trim()))
        .map((element) => element.outerHTML));
    assert.deepEqual(nameless, []);
    assert.match(await page.locator('#live').textContent(), /slot0: Ready, rescue grüße.iso/);
});

pageTest('texts, placeholders and borders of what is used have the contrast of WCAG AA, in light and dark', async (page, daemon) => {
    await logIn(page);
    await state(page, 'Empty');
    await card(page).locator('summary', { hasText: 'From a URL' }).click();
    for (const name of ['Choose a file … for slot0', 'Choose a folder … for slot0', 'Choose a file … for slot1'])
        assert.equal(await page.getByRole('button', { name }).count(), 1, name);
    for (const colorScheme of ['light', 'dark']) {
        await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
        const poor = await page.evaluate(() => {
            const channels = (color) => color.match(/[\d.]+/g).map(Number);
            const luminance = (color) => channels(color).slice(0, 3).map((c) => c / 255)
                .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)).reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
            const behind = (element) => {
                for (let e = element; e; e = e.parentElement) {
                    const color = getComputedStyle(e).backgroundColor;
                    if (channels(color)[3] !== 0)
                        return color;
                }
                return 'rgb(255, 255, 255)';
            };
            const contrast = (a, b) => {
                const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y);
                return (high + 0.05) / (low + 0.05);
            };
            const found = [];
            const check = (what, least, color, background) => {
                const has = contrast(color, background);
                if (has < least)
                    found.push(`${what}: ${has.toFixed(2)}`);
            };
            for (const element of document.querySelectorAll('input, select, button, .drop')) {
                if (!element.checkVisibility() || element.type === 'checkbox')
                    continue;
                const name = element.name || element.className || element.textContent;
                const style = getComputedStyle(element), around = behind(element.parentElement);
                if (!element.matches('button.main'))
                    check(`border of ${name}`, 3, style.borderTopColor, around);
                check(`text of ${name}`, 4.5, style.color, behind(element));
                if (element.placeholder)
                    check(`placeholder of ${name}`, 4.5, getComputedStyle(element, '::placeholder').color, behind(element));
            }
            return found;
        });
        assert.deepEqual(poor, [], colorScheme);
    }
});
