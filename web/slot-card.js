/**
 * One slot on the page. The card shows what it is told with update(), and asks
 * its owner for everything else by `actions`.
 */

import { HeatMap, Sparkline } from './charts.js';
import { setUpDrop } from './drop.js';
import { bootChanges, configFiles } from './insert-forms.js';
import { canWriteFiles } from './nbd-server.js';
import { dismissError, dismissedError } from './remember.js';
import { MEDIA_WORDS, imageWords, isConfig, isStored, pillWords, stateWords, waitsWords } from './slot-words.js';
import { announce, confirmDialog, ejectWrittenDialog, errorWords, failedReadsWords, humanRate, humanRoundTrip, humanSize, instantiate, percent, reportWords, setText, timeWords } from './text.js';

const STALE_MS = 2500; // without news the host is taken to read nothing
const SESSION_OVER = 'The session has ended.';
const READING_MS = 5000; // the host reads if it did so lately
const PROFILE_LEAST = 1 << 20; // bytes that were read: to know less than that is of no use

/**
 * @typedef {object} Actions each gives a promise; a rejection is shown in the card
 * @property {(slot: string, kind: 'file'|'folder', files: File[], changes: object) => Promise<void>} insertPicked `changes` of its boot configurations
 * @property {(slot: string, changes: object) => Promise<void>} insertWritableFile asks for the file itself
 * @property {(slot: string, transfer: DataTransfer, changes: object) => Promise<void>} insertDrop
 * @property {(slot: string, what: object) => Promise<object>} insertUrl gives what api.insert() gives
 * @property {(slot: string, upload: string, more: object) => Promise<object>} insertUpload
 * @property {(slot: string) => Promise<void>} eject
 * @property {(slot: string) => Promise<void>} dismiss what failed
 * @property {(slot: string, kind: 'file'|'folder', files: File[], changes: object) => Promise<void>} resume if it is the same as before
 * @property {(slot: string, changes: object) => Promise<void>} insertHeld what was served last
 * @property {(slot: string) => void} forget
 */

export class SlotCard {
    #actions;
    #parts;
    #spark;
    #heat;
    #rate = 0;
    #last = null; // {time, readBytes} of the last news
    #lastRead = -Infinity; // when the host last read
    #failure = ''; // of what was done here last
    #failureGoes = false; // when the slot's state changes: it was about the one before
    #pending = '';
    #tries = 0;
    #mayChange;
    #resume = null;
    #report = null; // of the last boot
    #away = false; // the BMC does not answer
    /** @type {import('./api.js').Slot} */
    slot;
    /** @type {import('./medium.js').Medium|null} what this browser serves here */
    medium = null;

    constructor(slot, actions, mayChange, mayTrust) {
        const { root, parts } = instantiate('slot-template');
        this.element = root;
        this.#parts = parts;
        this.#actions = actions;
        this.#mayChange = mayChange;
        this.slot = slot;
        this.#spark = new Sparkline(parts.spark);
        this.#heat = new HeatMap(parts.heat);
        root.setAttribute('aria-label', `Slot ${slot.name}`);
        parts.name.textContent = slot.name;
        parts.media.textContent = MEDIA_WORDS[slot.media] ?? slot.media;
        parts.file.setAttribute('aria-label', `Image for ${slot.name}`);
        parts.folder.setAttribute('aria-label', `Folder for ${slot.name}`);
        parts.pickFile.setAttribute('aria-label', `Choose a file … for ${slot.name}`);
        parts.pickFolder.setAttribute('aria-label', `Choose a folder … for ${slot.name}`);
        parts.fileWritable.setAttribute('aria-label', `The host may write to the file for ${slot.name}`);
        parts.urlForm.elements.verify.parentElement.hidden = !mayTrust;
        this.#setUpFile();
        this.#setUpForms();
        parts.eject.addEventListener('click', () => this.#eject());
        parts.awaitedEnd.addEventListener('click', () => this.#eject());
        parts.dismiss.addEventListener('click', () => this.#try('', () => actions.dismiss(slot.name)));
        parts.errorDismiss.addEventListener('click', () => this.#dismissError());
        this.#setUpSleep();
        parts.resumeForget.addEventListener('click', () => actions.forget(slot.name));
        this.update(slot);
    }

    // --- what is done in the card ---

    #setUpFile() {
        const { pickFile, pickFolder, file, folder, fileWritable, fileWritableLabel, resumePick } = this.#parts;
        const { name } = this.slot;
        let resuming = false;
        pickFolder.hidden = !('webkitdirectory' in folder);
        pickFolder.addEventListener('click', () => {
            resuming = false;
            folder.click();
        });
        fileWritableLabel.hidden = this.slot.media !== 'disk' || !canWriteFiles();
        pickFile.addEventListener('click', () => {
            resuming = false;
            if (fileWritable.checked)
                this.#try('Inserting …', () => this.#actions.insertWritableFile(name, this.#changes()));
            else
                file.click();
        });
        resumePick.addEventListener('click', () => {
            if (this.#resume.held)
                return this.#try('Inserting …', () => this.#actions.insertHeld(name, this.#changes()));
            resuming = true;
            (this.#resume.kind === 'folder' ? folder : file).click();
        });
        for (const [input, kind] of [[file, 'file'], [folder, 'folder']]) {
            input.addEventListener('change', () => {
                const files = [...input.files];
                input.value = ''; // the same may be picked again
                if (!files.length)
                    return;
                const resume = resuming || this.#resume?.only;
                this.#try('Inserting …', () => this.#actions[resume ? 'resume' : 'insertPicked'](name, kind, files, this.#changes()));
            });
        }
        this.#setUpDrop();
    }

    // While the BMC is away nothing is done; the buttons keep the focus.
    #setUpSleep() {
        for (const type of ['click', 'submit', 'change']) {
            this.element.addEventListener(type, (event) => {
                if (!this.#away || (type === 'click' && !event.target.closest('button')))
                    return;
                event.preventDefault();
                event.stopPropagation();
            }, { capture: true });
        }
    }

    #changes() {
        return bootChanges(this.#parts.changesForm);
    }

    #setUpDrop() {
        const { drop } = this.#parts;
        setUpDrop(this.element, drop, () => this.#mayInsert(), (transfer) =>
            this.#try('Inserting …', () => this.#actions.insertDrop(this.slot.name, transfer, this.#changes())));
    }

    #setUpForms() {
        const { changesForm, urlForm, urlProtectedLabel, storedForm, storedProtectedLabel, configForm } = this.#parts;
        urlProtectedLabel.hidden = storedProtectedLabel.hidden = this.slot.media !== 'disk';
        changesForm.addEventListener('submit', (event) => event.preventDefault()); // they go with what is inserted
        urlForm.addEventListener('submit', (event) => {
            event.preventDefault();
            const { url, user, password, verify, profile, protected: isProtected } = urlForm.elements;
            this.#try('Opening …', async () => {
                await this.#insertOrShow(event, this.#actions.insertUrl, {
                    url: url.value.trim(), user: user.value, password: password.value, verify: verify.checked,
                    writable: !isProtected.checked, ...bootChanges(changesForm),
                    ...(profile.value.trim() && { profile: profile.value.trim() }),
                });
                password.value = '';
            });
        });
        storedForm.addEventListener('submit', (event) => {
            event.preventDefault();
            const { upload, protected: isProtected } = storedForm.elements;
            this.#try('Opening …', () => this.#insertOrShow(event, (name, what) => this.#actions.insertUpload(name, upload.value, what),
                { writable: !isProtected.checked, ...bootChanges(changesForm) }));
        });
        configForm.addEventListener('submit', (event) => {
            event.preventDefault();
            const { configKind, files, serial, mac } = configForm.elements;
            this.#try('Reading the files …', async () => this.#actions.insertUrl(this.slot.name, {
                configFiles: await configFiles([...files.files]), configKind: configKind.value,
                ...(serial.value.trim() && { serial: serial.value.trim() }), ...(mac.value.trim() && { mac: mac.value.trim() }),
            }));
        });
    }

    /** As the form's button says: with dryRun nothing is inserted, and the image's changes are shown. */
    async #insertOrShow({ submitter }, insert, what) {
        const { changes } = this.#parts;
        const dryRun = submitter?.name === 'dryRun';
        showMessage(changes, '');
        const told = await insert(this.slot.name, { ...what, ...(dryRun && { dryRun }) });
        if (dryRun)
            showMessage(changes, told.changes);
    }

    async #eject() {
        const reads = performance.now() - this.#lastRead < READING_MS;
        if (reads && !await confirmDialog(
            `The host is reading from ${this.slot.name} now. If you eject it, what the host is doing may fail.`, 'Eject'))
            return;
        const { written, writtenStays, name } = this.slot;
        if (written > 0 && !writtenStays) {
            const wanted = await ejectWrittenDialog(`The host has written ${humanSize(written)} to ${name}, which the image itself does not have. `
                + 'An eject throws that away.');
            if (wanted === 'download')
                this.#parts.download.click();
            if (wanted !== 'discard')
                return;
        }
        this.#try('Ejecting …', () => this.#actions.eject(this.slot.name), true); // also ends an insert under way
    }

    async #try(pending, action, evenNow = false) {
        if (this.#pending && !evenNow)
            return;
        const mine = ++this.#tries;
        this.#pending = pending;
        this.#failure = '';
        this.#render();
        let failure = '';
        try {
            await action();
        } catch (error) {
            if (error.name !== 'AbortError') // a picker that was closed
                failure = error.status === 401 ? SESSION_OVER : errorWords(error);
        }
        if (mine !== this.#tries)
            return; // an eject ended it
        this.#pending = '';
        if (failure)
            this.#setFailure(failure, true);
        this.#render();
    }

    /** Somebody has logged in: that nobody had is no matter any more. Why a medium ended is. */
    sessionBegan() {
        if (this.#failure === SESSION_OVER)
            this.#setFailure('', false);
        this.#render();
    }

    /** The slot's last failure; while a new medium goes in it is that of another one, unless the slot tries by itself. */
    #lastError() {
        const { state, awaited, error, failing, failedReads } = this.slot;
        const goesIn = state === 'opening' || (state === 'empty' && this.#pending);
        const told = !failing && failedReads?.why === error; // with the reads
        if ((goesIn && !awaited) || told || this.#resume?.only || dismissedError(this.slot))
            return '';
        return error && `${timeWords(this.slot.errorAt)}${error}`;
    }

    #dismissError() {
        if (!this.#failure)
            dismissError(this.slot);
        this.#setFailure('', false);
        this.#render();
    }

    #setFailure(words, goes) {
        this.#failure = words;
        this.#failureGoes = goes;
    }

    // --- what is shown ---

    /** @param {import('./api.js').Slot} slot */
    update(slot) {
        if (slot.state !== this.slot.state) {
            announce(`${slot.name}: ${stateWords(slot.state)}${slot.imageName ? `, ${imageWords(slot)}` : ''}`);
            if (this.#failureGoes)
                this.#setFailure('', false);
        }
        if (!slot.hostWaits !== !this.slot.hostWaits)
            announce(`${slot.name}: ${slot.hostWaits ? 'the host waits for data' : 'the host has its data'}`);
        this.slot = slot;
        this.#measure();
        this.#render();
    }

    /** @param {boolean} away the BMC does not answer */
    setAway(away) {
        if (away === this.#away)
            return;
        this.#away = away;
        for (const button of this.element.querySelectorAll('button'))
            button.setAttribute('aria-disabled', String(away));
        this.#render();
    }

    /** @param {import('./medium.js').Medium|null} medium */
    setMedium(medium) {
        this.medium = medium;
        if (medium && !medium.active && medium.end.code !== 1000)
            this.#setFailure(medium.end.words, false);
        this.#render();
    }

    /**
     * What could be inserted again; `held`: the file is at hand, else it has to be picked;
     * `only`: the slot waits for exactly that.
     * @param {{name: string, size: number, kind: string, held: boolean, only: boolean}|null} resume
     */
    setResume(resume) {
        this.#resume = resume; // while the host waits for it, that the connection ended is no news
        this.#render();
    }

    /** @param {string[]} names */
    setStored(names) {
        const { stored, storedForm, noStored } = this.#parts;
        const before = [...stored.options].map((option) => option.value);
        storedForm.hidden = names.length === 0;
        noStored.hidden = names.length > 0;
        if (names.join('/') !== before.join('/'))
            stored.replaceChildren(...names.map((name) => new Option(name, name)));
    }

    /** @param {object|null} report of api.report() */
    setReport(report) {
        this.#report = report;
        this.#render();
    }

    /** @param {string} path where the boot profile is */
    setProfilePath(path) {
        this.#parts.profile.href = path;
    }

    /** @param {string} path where the medium can be had */
    setMediumPath(path) {
        this.#parts.download.href = path;
    }

    setHeat(buckets) {
        this.#heat.set(buckets);
    }

    /** Each second. */
    tick() {
        if (!this.#last || performance.now() - this.#last.time > STALE_MS)
            this.#rate = 0;
        this.#spark.push(this.#rate);
        this.#renderRate();
        if (this.medium)
            this.#renderLocal();
    }

    #measure() {
        const now = performance.now();
        const { readBytes } = this.slot.stats;
        if (this.slot.state === 'empty') {
            this.#last = null;
            this.#rate = 0;
            this.#lastRead = -Infinity;
            this.#spark.clear();
            this.#heat.set([]);
            return;
        }
        if (this.#last && readBytes >= this.#last.readBytes && now > this.#last.time)
            this.#rate = (readBytes - this.#last.readBytes) * 1000 / (now - this.#last.time);
        if (this.#last && readBytes > this.#last.readBytes)
            this.#lastRead = now;
        this.#last = { time: now, readBytes };
    }

    #mayInsert() {
        return this.#mayChange && !this.#away && this.slot.state === 'empty' && !this.medium?.active && !this.#pending;
    }

    #render() {
        const { slot } = this;
        const p = this.#parts;
        const empty = slot.state === 'empty';
        const [words, state] = pillWords(slot, this.#away);
        setText(p.state, words);
        p.state.dataset.state = state;
        this.#renderError();
        showMessage(p.note, this.#note());
        this.#show(p.report, empty && Boolean(this.#report));
        if (this.#report)
            setText(p.report, reportWords(this.#report));
        this.#show(p.loaded, !empty);
        this.#show(p.insert, this.#mayChange && empty && !this.medium?.active);
        setText(p.dropText, `Drop ${slot.media === 'cd' ? 'an ISO' : 'a disk'} image or a folder here, or`);
        p.ejectRow.hidden = !this.#mayChange;
        this.element.setAttribute('aria-busy', String(this.#pending !== '')); // not disabled: that would lose the focus
        this.#renderReads();
        this.#renderResume();
        this.#renderAwaited();
        if (!empty)
            this.#renderLoaded();
    }

    #note() {
        if (this.#pending)
            return this.#pending;
        if (this.medium?.state === 'connecting')
            return `Connecting ${this.medium.identity.name} …`;
        if (this.medium?.state === 'reconnecting')
            return 'The connection to the BMC was lost. Trying again …';
        if (this.medium && !this.medium.active && this.medium.end.code === 1000 && this.slot.state === 'empty')
            return this.medium.end.words;
        return '';
    }

    #renderError() {
        const { error, errorBox, errorEnd, errorDismiss } = this.#parts;
        const { name, warning } = this.slot;
        const failed = this.#failure || this.#lastError();
        setText(error, failed || (warning && `The host may not be able to use it: ${warning}.`));
        this.#show(errorBox, error.textContent !== '');
        errorEnd.hidden = !failed;
        errorDismiss.setAttribute('aria-label', `Dismiss what failed in ${name}`);
    }

    #renderReads() {
        const { failedReads, hostWaits } = this.slot;
        const { waits, failed, failedText, dismiss } = this.#parts;
        const cause = this.slot.failing ? '' : ' Its source has not answered yet.'; // else the error says it
        showMessage(waits, this.#away ? 'The BMC does not answer: this is what it said last.' : hostWaits ? `${waitsWords(this.slot)}.${cause}` : '');
        this.#show(failed, Boolean(failedReads));
        if (!failedReads)
            return;
        setText(failedText, failedReadsWords(failedReads, this.slot.failing && failedReads.why === this.slot.error));
        dismiss.hidden = !this.#mayChange;
        dismiss.setAttribute('aria-label', `Dismiss the failed reads of ${this.slot.name}`);
    }

    #renderAwaited() {
        const { awaited } = this.slot;
        const { awaited: box, awaitedText, awaitedEnd } = this.#parts;
        this.#show(box, Boolean(awaited) && this.slot.state === 'empty');
        if (!awaited)
            return;
        const when = awaited.inSeconds ? `in ${awaited.inSeconds} s` : 'now';
        setText(awaitedText, `${awaited.image} is not in yet. It is tried again ${when}.`);
        awaitedEnd.hidden = !this.#mayChange;
        awaitedEnd.setAttribute('aria-label', `Stop trying ${this.slot.name}`);
    }

    #renderResume() {
        const resume = this.#resume;
        const { resume: box, resumeText, resumePick } = this.#parts;
        this.#show(box, Boolean(resume) && this.#mayChange && !this.medium?.active);
        if (!resume)
            return;
        const what = `${resume.name} (${humanSize(resume.size)})`;
        setText(resumeText, resume.only ? `The host waits for ${what}, which this tab served.`
            : resume.held ? `${what} is no longer served.` : `${what} was inserted from this tab.`);
        setText(resumePick, resume.held ? 'Insert it again' : 'Pick it again …');
    }

    #renderLoaded() {
        const { slot } = this;
        const { stats } = slot;
        const p = this.#parts;
        const coming = slot.state === 'opening' || slot.state === 'attaching';
        p.figures.hidden = coming;
        setText(p.eject, coming ? 'Cancel' : 'Eject');
        p.eject.setAttribute('aria-label', `${p.eject.textContent} ${slot.name}`);
        setText(p.image, imageWords(slot));
        p.image.title = slot.image;
        const via = this.medium?.active ? 'from this browser' : isStored(slot) ? 'stored on the BMC' : isConfig(slot) ? 'made of files'
            : { uri: 'from a URL', applet: 'from a browser' }[slot.connectedVia];
        setText(p.meta, [slot.size ? humanSize(slot.size) : '', slot.writable ? 'writable' : 'read-only', via]
            .filter(Boolean).join(' · '));
        p.profile.download = `${slot.imageName}.boot-profile`;
        this.#show(p.profileRow, stats.readBytes >= PROFILE_LEAST && !isStored(slot));
        p.download.download = imageWords(slot);
        this.#show(p.downloadRow, !coming && this.#mayChange && (slot.written > 0 || isStored(slot)));
        showMessage(p.written, slot.written > 0 ? `The host has written ${humanSize(slot.written)}. `
            + (slot.writtenStays ? 'They are kept on the BMC for the next insert of this image.' : 'An eject throws that away: download it first.') : '');
        setText(p.readBytes, humanSize(stats.readBytes));
        setText(p.bytes, humanSize(stats.bytes));
        setText(p.meanRate, humanRate(stats.meanRate));
        setText(p.waited, percent(stats.readsWaited, stats.reads));
        this.#show(p.rttRow, stats.rttUs > 0);
        setText(p.rtt, humanRoundTrip(stats.rttUs));
        setText(p.cached, humanSize(stats.cached));
        this.#renderRate();
        this.#renderLocal();
    }

    #renderRate() {
        setText(this.#parts.rate, humanRate(this.#rate));
    }

    #renderLocal() {
        const { local } = this.#parts;
        local.hidden = !this.medium?.active;
        if (local.hidden)
            return;
        const { readError } = this.medium;
        setText(local, `${humanSize(this.medium.sentBytes)} sent by this browser${readError ? `; a read failed: ${readError}` : ''}`);
    }

    // A keyboard's place is not lost when the part that has it goes.
    #show(part, shown) {
        if (part.hidden === !shown)
            return;
        const hadFocus = part.contains(document.activeElement);
        part.hidden = !shown;
        if (!shown && hadFocus)
            this.#parts.name.focus();
    }
}

export function showMessage(element, text) {
    setText(element, text);
    element.hidden = !text;
}
