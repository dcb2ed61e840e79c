// The images are judged by other programs' readers, where they are installed.

import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { closeSync, ftruncateSync, mkdtempSync, openSync, readFileSync, readdirSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';

import { isoSource } from '../../web/iso9660.js';
import { pattern } from './nbd_client.mjs';

const MTIME = Date.UTC(2024, 1, 29, 12, 30, 15);
const has = (program) => spawnSync(program, ['--version']).error === undefined;
const needs = (program) => ({ skip: has(program) ? false : `needs ${program}` });

let folder;
before(() => { folder = mkdtempSync(join(tmpdir(), 'nbd-proxy-iso.')); });
after(() => rmSync(folder, { recursive: true }));

function file(path, content, mtime = MTIME) {
    const blob = new Blob([content]);
    return { path, size: blob.size, mtime, blob };
}

const LONG = 'a very long name that goes on '.repeat(7);
const FILES = [
    file('readme.txt', 'hello'),
    file('empty', ''),
    file('sub/also empty', ''),
    file('Ünï cödé 日本語.txt', 'unicode'),
    file('cafe\u0301.txt', 'decomposed'),
    file('emoji 😀.bin', pattern(1, 5000)),
    file(`${LONG}one.iso`, 'first'),
    file(`${LONG}two.iso`, 'second'),
    file('a/b/c/d/e/f/g/h/i/j/k/l/deep.txt', 'deep'),
    file('a/exact.bin', pattern(2, 4096)),
    file('a/odd.bin', pattern(3, 100_001)),
    file('.hidden', 'h'),
    file('two.dots.tar.gz', 'd'),
    file('folder.with.dots/x', 'x'),
    file('weird*:;?name', 'w'),
    ...Array.from({ length: 300 }, (_, i) => file(`many/file number ${i}.dat`, `${i}`)),
];

async function writeImage(source, name) {
    const path = join(folder, name);
    writeFileSync(path, Buffer.from(await source.read(0, source.size)));
    return path;
}

const contentOf = async ({ blob }) => Buffer.from(await blob.arrayBuffer());

test('bsdtar reads every file back as it was', needs('bsdtar'), async () => {
    const image = await writeImage(isoSource(FILES, { name: 'Test Volume' }), 'all.iso');
    const out = join(folder, 'out');
    execFileSync('mkdir', [out]);
    execFileSync('bsdtar', ['-xf', image, '-C', out], { env: { ...process.env, LC_ALL: 'C.UTF-8' } });
    const expected = new Map();
    for (const one of FILES)
        expected.set(one.path.normalize('NFC').replace(/[*:;?]/g, '_'), await contentOf(one));
    for (const [path, content] of expected) {
        if (path.startsWith(LONG))
            continue;
        assert.deepEqual(readFileSync(join(out, path)), content, path);
    }
    const long = readdirSync(out).filter((name) => name.startsWith(LONG.slice(0, 90))).sort();
    assert.deepEqual(long.map((name) => [name.length, name.slice(-6), readFileSync(join(out, name), 'utf8')]),
        [[103, LONG.slice(97, 99) + '.iso', 'first'], [103, '~1.iso', 'second']]);
    assert.equal(readdirSync(join(out, 'many')).length, 300);
    const listed = execFileSync('bsdtar', ['-tvf', image], { env: { ...process.env, LC_ALL: 'C.UTF-8', TZ: 'UTC' }, encoding: 'utf8' });
    assert.match(listed, /Feb 29 +2024 readme\.txt/);
});

test('xorriso loads it without a complaint', needs('xorriso'), async () => {
    const files = FILES.filter(({ path }) => !path.includes('😀')); // that is UTF-16, which it warns of
    const image = await writeImage(isoSource(files, { name: 'Test Volume' }), 'xorriso.iso');
    const run = spawnSync('xorriso', ['-abort_on', 'WARNING', '-indev', image, '-find', '/', '-type', 'f'], { encoding: 'utf8' });
    assert.equal(run.status, 0, run.stderr);
    assert.doesNotMatch(run.stderr, /WARNING|SORRY|FAILURE/);
    assert.equal(run.stdout.split('\n').filter(Boolean).length, files.length);
    assert.match(run.stderr, /Volume id\s+: 'TEST_VOLUME'/);
});

test('isoinfo finds both namings, level 2 names unique, and reads through each', needs('isoinfo'), async () => {
    const image = await writeImage(isoSource(FILES, { name: 'Test Volume' }), 'isoinfo.iso');
    const isoinfo = (...args) => execFileSync('isoinfo', ['-i', image, ...args], { maxBuffer: 1 << 24 });
    assert.match(isoinfo('-d').toString(), /Joliet with UCS level 3 found/);
    const primary = isoinfo('-f').toString().trim().split('\n');
    const named = primary.filter((path) => path.includes(';'));
    assert.equal(named.length, FILES.length);
    assert.equal(new Set(primary).size, primary.length);
    for (const path of named)
        assert.match(path.split('/').pop(), /^[A-Z0-9_]+\.[A-Z0-9_]*;1$/);
    assert.ok(named.every((path) => path.split('/').pop().length <= 32));
    assert.deepEqual(isoinfo('-x', '/A/ODD.BIN;1'), Buffer.from(pattern(3, 100_001)));
    assert.deepEqual(isoinfo('-J', '-x', '/a/odd.bin;1'), Buffer.from(pattern(3, 100_001)));
    assert.deepEqual(isoinfo('-J', '-x', '/a/b/c/d/e/f/g/h/i/j/k/l/deep.txt;1').toString(), 'deep');
});

/** A blob of zeroes with a mark at its end, of any size. */
function zeroes(size, mark) {
    return {
        size,
        slice: (from, to) => ({
            arrayBuffer: async () => {
                const bytes = new Uint8Array(to - from);
                for (let i = Math.max(from, size - mark.length); i < to; i++)
                    bytes[i - from] = mark.charCodeAt(i - (size - mark.length));
                return bytes.buffer;
            },
        }),
    };
}

test('a file beyond 4 GiB has two extents and is read whole', needs('bsdtar'), async () => {
    const size = 2 ** 32 + 5_000_001;
    const source = isoSource([{ path: 'big.img', size, mtime: MTIME, blob: zeroes(size, 'THE END') }, file('z.txt', 'after')]);
    const image = join(folder, 'big.iso');
    const fd = openSync(image, 'w');
    ftruncateSync(fd, source.size);
    for (const [from, to] of [[0, 1 << 20], [source.size - (1 << 20), source.size]])
        writeSync(fd, Buffer.from(await source.read(from, to - from)), 0, to - from, from);
    closeSync(fd);
    const listed = execFileSync('bsdtar', ['-tvf', image], { encoding: 'utf8' });
    assert.match(listed, new RegExp(` ${size} .* big\\.img`));
    const tail = execFileSync('bash', ['-c', 'set -o pipefail; bsdtar -xOf "$0" big.img | tail -c 7', image], { encoding: 'utf8' });
    assert.equal(tail, 'THE END');
    assert.equal(execFileSync('bsdtar', ['-xOf', image, 'z.txt'], { encoding: 'utf8' }), 'after');
});

test('any range is what the whole image has there', async () => {
    const source = isoSource(FILES);
    const whole = Buffer.from(await source.read(0, source.size));
    assert.equal(source.size % 2048, 0);
    let seed = 7;
    const random = (below) => (seed = (seed * 1103515245 + 12345) % 2147483648) % below;
    for (let i = 0; i < 500; i++) {
        const offset = random(source.size);
        const length = Math.min(random(i % 2 ? 5000 : 300_000), source.size - offset);
        assert.deepEqual(Buffer.from(await source.read(offset, length)), whole.subarray(offset, offset + length));
    }
});

test('the same list, in any order, is the same image', async () => {
    const one = isoSource(FILES);
    const other = isoSource([...FILES].reverse());
    assert.equal(other.size, one.size);
    assert.deepEqual(Buffer.from(await other.read(0, other.size)), Buffer.from(await one.read(0, one.size)));
    assert.equal(one.lastModified, MTIME);
    assert.ok(one.readOnly);
});

test('names that are one without case, and many that are cut alike, are told apart', needs('bsdtar'), async () => {
    const alike = Array.from({ length: 2000 }, (_, i) => file(`${'x'.repeat(120)}${i}.txt`, `${i}`));
    const source = isoSource([file('README', '1'), file('readme', '2'), file('ReadMe', '3'), ...alike]);
    const image = await writeImage(source, 'alike.iso');
    const names = execFileSync('bsdtar', ['-tf', image], { encoding: 'utf8' }).trim().split('\n').map((name) => name.toLowerCase());
    assert.equal(new Set(names).size, names.length);
    assert.equal(names.filter((name) => name.startsWith('x')).length, 2000);
    assert.ok(names.includes('readme') && names.includes('readme~1') && names.includes('readme~2'));
});

test('a file that changed is an error for the read that meets it, not for others', async () => {
    const gone = { slice: () => ({ arrayBuffer: async () => { throw new DOMException('changed', 'NotReadableError'); } }) };
    const source = isoSource([{ path: 'a.bin', size: 5000, mtime: MTIME, blob: gone }, file('b.bin', pattern(0, 100))]);
    await assert.rejects(source.read(0, source.size), { name: 'NotReadableError' });
    assert.equal((await source.read(0, 32768)).byteLength, 32768);
    assert.deepEqual(new Uint8Array(await source.read(source.size - 2048, 100)), pattern(0, 100));
});

test('what can not be an image is refused in words', () => {
    assert.throws(() => isoSource([]), /no files/);
    assert.throws(() => isoSource([file('a/../../b', '')]), /not a path/);
    assert.throws(() => isoSource([file('', '')]), /not a path/);
    assert.throws(() => isoSource([file('a', ''), file('./a', '')]), /twice/);
    assert.throws(() => isoSource([{ path: 'huge', size: 2 ** 44, mtime: 0, blob: null }]), /8 TiB/);
    assert.throws(() => isoSource(Array.from({ length: 66_000 }, (_, i) => file(`${i}/f`, ''))), /65535 folders/);
    assert.throws(() => isoSource(Array.from({ length: 100_001 }, (_, i) => ({ path: `${i}`, size: 0, mtime: 0, blob: null }))), /100000 files/);
});

test('a file and a folder of the same name are both there', needs('bsdtar'), async () => {
    const image = await writeImage(isoSource([file('same', 'file'), file('same/inside', 'x')]), 'same.iso');
    const names = execFileSync('bsdtar', ['-tf', image], { encoding: 'utf8' }).trim().split('\n');
    assert.equal(names.filter((name) => name.startsWith('same')).length, 3);
});

test('times outside of what a record can say are clamped', async () => {
    const source = isoSource([file('old', 'x', -1e15), file('new', 'x', 1e15), file('none', 'x', NaN)]);
    assert.ok((await source.read(0, source.size)).byteLength > 0);
});
