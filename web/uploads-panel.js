/** The images in the BMC's storage, and those on their way there. */

import { setUpDrop } from './drop.js';
import { showMessage } from './slot-card.js';
import { announce, confirmDialog, errorWords, humanRate, humanSize, humanTime, instantiate, setText } from './text.js';
import { Upload } from './upload.js';

const element = (id) => document.getElementById(id);

export class UploadsPanel {
    #api;
    #mayChange = false;
    #stored = new Map(); // name -> what the BMC has
    #uploads = new Map(); // name -> Upload
    #rows = new Map(); // name -> {root, parts}
    #free = 0;
    #known = Promise.resolve(); // when what is stored, and what is free, has been asked for
    /** Called with the names of the images that can be inserted. */
    onStored = () => {};

    constructor(api) {
        this.#api = api;
        const file = element('upload-file');
        element('upload-pick').addEventListener('click', () => file.click());
        file.addEventListener('change', () => {
            for (const one of file.files)
                this.#upload(one);
            file.value = '';
        });
        element('stick-form').addEventListener('submit', (event) => {
            event.preventDefault();
            this.#makeStick(event.target.elements);
        });
        setUpDrop(element('upload-drop'), element('upload-drop'), () => true, (transfer) => {
            for (const one of transfer.files)
                this.#upload(one);
        });
    }

    get busy() {
        return [...this.#uploads.values()].some((upload) => upload.active);
    }

    async show(mayChange) {
        this.#mayChange = mayChange;
        element('upload-drop').hidden = !mayChange;
        element('stick').hidden = !mayChange;
        await this.#reload();
    }

    /** Ends the uploads; the next to log in knows nothing of them. */
    stop() {
        for (const upload of this.#uploads.values())
            upload.stop();
        this.#uploads = new Map();
    }

    #reload() {
        this.#known = this.#ask();
        return this.#known;
    }

    async #ask() {
        try {
            const { uploads, free } = await this.#api.uploads();
            this.#stored = new Map(uploads.map((upload) => [upload.name, upload]));
            this.#free = free;
            showMessage(element('upload-error'), '');
        } catch (error) {
            showMessage(element('upload-error'), errorWords(error));
        }
        this.onStored([...this.#stored.values()].filter((upload) => upload.complete).map((upload) => upload.name));
        this.#render();
    }

    async #upload(file) {
        const uploads = this.#uploads;
        await this.#known; // a file may be picked before the BMC has answered
        if (uploads !== this.#uploads)
            return; // logged out
        const problem = this.#problem(file);
        showMessage(element('upload-error'), problem);
        if (problem)
            return;
        const upload = new Upload(this.#api, file, () => this.#renderRow(file.name));
        this.#uploads.set(file.name, upload);
        this.#render();
        await upload.run(this.#stored.get(file.name));
        if (this.#uploads.get(file.name) !== upload)
            return; // logged out
        announce(upload.error ? `Upload of ${file.name}: ${upload.error}`
            : upload.stopped ? `Upload of ${file.name} stopped` : `${file.name} is on the BMC`);
        if (!upload.error && !upload.stopped)
            this.#uploads.delete(file.name);
        await this.#reload();
    }

    async #makeStick({ size, label }) {
        const named = label.value.toUpperCase();
        try {
            await this.#api.makeStick(`${named}.img`, size.value * 2 ** 20, named);
            announce(`${named}.img is on the BMC`);
        } catch (error) {
            showMessage(element('upload-error'), errorWords(error));
            return;
        }
        await this.#reload();
    }

    #problem(file) {
        const stored = this.#stored.get(file.name);
        if (!file.size)
            return `${file.name} is empty, or a folder.`;
        if (this.#uploads.get(file.name)?.active)
            return `${file.name} is on its way already.`;
        if (stored?.complete)
            return `There is an image ${file.name} already. Delete it first.`;
        if (file.size - (stored?.size ?? 0) > this.#free)
            return `${file.name} has ${humanSize(file.size)}; ${humanSize(this.#free)} are free.`;
        return '';
    }

    async #delete(name) {
        if (!await confirmDialog(`Delete ${name} from the BMC?`, 'Delete'))
            return;
        try {
            await this.#api.deleteUpload(name);
            this.#uploads.delete(name);
            announce(`${name} is deleted`);
        } catch (error) {
            showMessage(element('upload-error'), errorWords(error));
            return;
        }
        await this.#reload();
        element('uploads-title').focus();
    }

    // --- what is shown ---

    #render() {
        const names = [...new Set([...this.#uploads.keys(), ...this.#stored.keys()])].sort();
        for (const [name, row] of this.#rows) {
            if (names.includes(name))
                continue;
            row.root.remove();
            this.#rows.delete(name);
        }
        for (const name of names) {
            if (!this.#rows.has(name))
                this.#rows.set(name, this.#newRow(name));
            element('upload-list').append(this.#rows.get(name).root);
            this.#renderRow(name);
        }
        const nothing = names.length ? '' : 'Nothing is stored. ';
        setText(element('upload-free'), `${nothing}${humanSize(this.#free)} free.`);
    }

    #newRow(name) {
        const row = instantiate('upload-template');
        const { parts } = row;
        parts.name.textContent = name;
        parts.progress.setAttribute('aria-label', `Upload of ${name}`);
        parts.cancel.setAttribute('aria-label', `Stop the upload of ${name}`);
        parts.download.setAttribute('aria-label', `Download ${name}`);
        parts.delete.setAttribute('aria-label', `Delete ${name}`);
        parts.resume.setAttribute('aria-label', `Go on with the upload of ${name}`);
        parts.cancel.addEventListener('click', () => this.#uploads.get(name)?.stop());
        parts.delete.addEventListener('click', () => this.#delete(name));
        parts.resume.addEventListener('click', () => {
            const upload = this.#uploads.get(name); // else of an earlier page
            if (upload)
                this.#upload(upload.file);
            else
                element('upload-file').click();
        });
        return row;
    }

    #renderRow(name) {
        const row = this.#rows.get(name);
        if (!row)
            return;
        const { parts } = row;
        const stored = this.#stored.get(name);
        const upload = this.#uploads.get(name);
        const active = Boolean(upload?.active);
        showMessage(parts.error, upload?.error ?? '');
        setText(parts.meta, active ? progressWords(upload) : storedWords(stored, this.#mayChange && !upload));
        setText(parts.hash, stored?.sha256 ? `SHA-256 ${stored.sha256}` : '');
        parts.hash.hidden = !stored?.sha256;
        parts.progress.hidden = !active;
        if (active)
            parts.progress.value = upload.offset / upload.file.size;
        parts.cancel.hidden = !active;
        parts.download.href = this.#api.uploadPath(name);
        parts.download.hidden = active || !stored?.complete || !this.#mayChange;
        parts.delete.hidden = active || !stored || !this.#mayChange;
        parts.resume.hidden = active || Boolean(stored?.complete) || !this.#mayChange;
    }
}

function progressWords(upload) {
    const { offset, rate, file } = upload;
    const done = `${humanSize(offset)} of ${humanSize(file.size)}`;
    return rate > 0 ? `${done} · ${humanRate(rate)} · ${humanTime((file.size - offset) / rate)} left` : done;
}

function storedWords(stored, mustPick) {
    if (!stored)
        return '';
    if (stored.complete)
        return humanSize(stored.size);
    const there = `Incomplete: ${humanSize(stored.offset)} of ${humanSize(stored.size)}.`;
    return mustPick ? `${there} Pick the same file to go on.` : there;
}
