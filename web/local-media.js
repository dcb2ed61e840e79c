/** What the user picked or dropped, as a source with the facts that tell it again after a reload. */

import { MAX_FILES, isoSource } from './iso9660.js';
import { fileSource, handleSource } from './nbd-server.js';

/** @typedef {{source: import('./nbd-server.js').Source, what: import('./remember.js').Remembered}} LocalMedium */

/**
 * @param {'file'|'folder'} kind
 * @param {File[]} files of an <input>; a folder's have webkitRelativePath
 * @returns {LocalMedium}
 */
export function pickedMedium(kind, files) {
    if (kind === 'file')
        return fileMedium(files[0]);
    const [folder] = files[0].webkitRelativePath.split('/');
    return folderMedium(folder, files.map((file) => [file.webkitRelativePath.slice(folder.length + 1), file]));
}

/** Asks for a file that the host may write to. @returns {Promise<LocalMedium>} */
export async function writableMedium() {
    const [handle] = await showOpenFilePicker();
    const source = await handleSource(handle);
    return { source, what: fileFacts(source.file) };
}

/** One file is an image; a folder, or several, become one. @returns {Promise<LocalMedium>} */
export async function droppedMedium(transfer) {
    // Both lists are gone after the first await.
    const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
    const files = [...transfer.files];
    if (!entries.some((entry) => entry.isDirectory))
        return files.length === 1 ? fileMedium(files[0]) : folderMedium('files', files.map((file) => [file.name, file]));
    const found = [];
    if (entries.length === 1) {
        for (const entry of await entriesOf(entries[0]))
            await collect(entry, '', found);
        return folderMedium(entries[0].name, found);
    }
    for (const entry of entries)
        await collect(entry, '', found);
    return folderMedium('files', found);
}

function fileFacts({ name, size, lastModified }) {
    return { name, size, lastModified, kind: 'file' };
}

function fileMedium(file) {
    return { source: fileSource(file), what: fileFacts(file) };
}

/** @param {[string, File][]} files path and file */
function folderMedium(name, files) {
    const source = isoSource(files.map(([path, blob]) => ({ path, size: blob.size, mtime: blob.lastModified, blob })), { name });
    return { source, what: { name: source.name, size: source.size, lastModified: source.lastModified, kind: 'folder' } };
}

async function collect(entry, folder, found) {
    const path = folder + entry.name;
    if (found.length > MAX_FILES)
        return; // isoSource() says so
    if (entry.isFile) {
        found.push([path, await new Promise((resolve, reject) => entry.file(resolve, reject))]);
        return;
    }
    for (const below of await entriesOf(entry))
        await collect(below, `${path}/`, found);
}

async function entriesOf(directory) {
    const reader = directory.createReader();
    const all = [];
    for (;;) { // it gives some at a time, and none at the end
        const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
        if (!some.length)
            return all;
        all.push(...some);
    }
}
