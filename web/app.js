/**
 * The page: session, the slots as cards, what this browser serves, the images
 * on the BMC. What is served lives here and not in a card, so that it outlives
 * a session that ended and a list that changed.
 */

import { Api } from './api.js';
import { droppedMedium, pickedMedium, writableMedium } from './local-media.js';
import { Medium } from './medium.js';
import { difference, forgetMedium, rememberMedium, rememberedMedium } from './remember.js';
import { SlotCard, showMessage } from './slot-card.js';
import { announce, confirmDialog, errorWords, humanTime, setText } from './text.js';
import { UploadsPanel } from './uploads-panel.js';

const HEAT_MS = 3000;
const TICK_MS = 1000;
const ASK_AGAIN_MS = 3000;
const WARN_S = 600; // before a session is too old

const element = (id) => document.getElementById(id);

class App {
    #api = new Api();
    #uploads = new UploadsPanel(this.#api);
    #cards = new Map(); // slot's name -> SlotCard
    #media = new Map(); // slot's name -> Medium, until another comes or it is forgotten
    #stored = [];
    #session = null;
    #endsAt = Infinity; // of the session, by performance.now()
    #endEvents = null;

    async start() {
        this.#api.onSessionEnded = () => {
            if (this.#session) // else the next answer would empty what is being typed
                this.#showLogin('The session has ended. Log in again.');
        };
        this.#uploads.onStored = (names) => {
            this.#stored = names;
            for (const card of this.#cards.values())
                card.setStored(names);
        };
        element('login').addEventListener('submit', (event) => this.#login(event));
        element('logout').addEventListener('click', () => this.#logout());
        element('renew').addEventListener('click', () => this.#showLogin('', this.#session.user));
        addEventListener('beforeunload', (event) => {
            if (!this.#serves && !this.#uploads.busy)
                return;
            event.preventDefault();
            event.returnValue = ''; // what older browsers look at
        });
        refuseStrayDrops();
        setInterval(() => this.#tick(), TICK_MS);
        setInterval(() => this.#askHeat(), HEAT_MS);
        await this.#findSession();
    }

    get #serves() {
        return [...this.#media.values()].some((medium) => medium.active);
    }

    // --- session ---

    async #findSession() {
        try {
            const session = await this.#api.session();
            element('offline').hidden = true;
            if (session)
                this.#showMain(session);
            else
                this.#showLogin('');
        } catch {
            element('offline').hidden = false;
            setTimeout(() => this.#findSession(), ASK_AGAIN_MS);
        }
    }

    async #login(event) {
        event.preventDefault();
        const form = element('login');
        if (form.getAttribute('aria-busy') === 'true')
            return;
        form.setAttribute('aria-busy', 'true');
        showMessage(element('login-error'), '');
        try {
            const session = await this.#api.login(form.elements.user.value, form.elements.password.value);
            this.#showMain(session);
            element('slots-title').focus();
        } catch (error) {
            showMessage(element('login-error'), errorWords(error));
            form.elements.password.select();
        }
        form.setAttribute('aria-busy', 'false');
    }

    async #logout() {
        const served = await this.#servedWords();
        if (served && !await confirmDialog(`${served} Logging out ends that.`, 'Log out'))
            return;
        for (const [name, medium] of this.#media) {
            medium.stop();
            forgetMedium(name);
        }
        this.#media.clear();
        this.#uploads.stop();
        try {
            await this.#api.logout();
        } catch { /* gone with the BMC or ended already */ }
        for (const card of this.#cards.values())
            card.element.remove();
        this.#cards.clear();
        this.#showLogin('');
    }

    /** What goes on by this session, in whatever tab; '' for nothing. */
    async #servedWords() {
        const { serves } = await this.#api.session().catch(() => null) ?? {};
        const words = [...(serves?.media ?? []).map(({ slot, name }) => `serves ${name || 'a file'} in ${slot}`),
            ...(serves?.uploads ?? []).map((name) => `uploads ${name}`)];
        if (words.length)
            return `This browser, in this tab or another one, ${words.join(', ')}.`;
        return this.#serves || this.#uploads.busy ? 'This browser serves an image or uploads one.' : '';
    }

    /** @param {string} user whose session ends soon, and who has to log in again; '' for anybody */
    #showLogin(message, user = '') {
        this.#endEvents?.();
        this.#endEvents = null;
        this.#session = null;
        element('main-view').hidden = true;
        element('account').hidden = true;
        element('offline').hidden = true; // it answered, or nobody asks any more
        element('login-view').hidden = false;
        showMessage(element('login-error'), message);
        const form = element('login').elements;
        form.password.value = '';
        form.user.value = user || form.user.value;
        (form.user.value ? form.password : form.user).focus();
    }

    #showMain(session) {
        this.#keepSession(session);
        element('login').elements.password.value = '';
        element('login-view').hidden = true;
        element('main-view').hidden = false;
        element('account').hidden = false;
        element('who').textContent = `${session.user} (${session.role})`;
        element('read-only').hidden = this.#mayChange;
        this.#uploads.show(this.#mayChange);
        for (const card of this.#cards.values())
            card.sessionBegan();
        this.#listen();
    }

    #keepSession(session) {
        this.#session = session;
        const { sha256, own, expires } = session.certificate ?? {};
        element('certificate').hidden = !sha256;
        setText(element('certificate'), sha256 ? `The BMC's certificate${own ? ', signed by itself' : ''}: SHA-256 ${sha256}, until `
            + `${new Date(expires * 1000).toISOString().slice(0, 10)}` : '');
        this.#endsAt = session.endsIn === undefined ? Infinity : performance.now() + session.endsIn * 1000;
        this.#warnOfEnd();
    }

    #warnOfEnd() {
        const left = (this.#endsAt - performance.now()) / 1000;
        const { ending } = element('ending').dataset;
        const warns = Boolean(this.#session) && left < WARN_S;
        if (warns && !ending)
            this.#askSession(); // another tab may have logged in again
        element('ending').dataset.ending = warns ? 'yes' : '';
        element('ending').hidden = !warns;
        if (warns)
            setText(element('ending-words'), `This login ends in ${humanTime(Math.max(0, left))}. A medium that this browser serves stays in; `
                + 'all else waits until you log in again.');
    }

    async #askSession() {
        const session = await this.#api.session().catch(() => null);
        if (session && this.#session)
            this.#keepSession(session);
    }

    get #mayChange() {
        return this.#session?.role !== 'ReadOnly';
    }

    // --- the slots ---

    #listen() {
        this.#endEvents?.();
        this.#endEvents = this.#api.events((slots) => this.#showSlots(slots), (connected, away, crowded) => {
            element('offline').hidden = connected;
            showMessage(element('crowded'), crowded);
            for (const card of this.#cards.values())
                card.setAway(away);
        });
    }

    #showSlots(slots) {
        if (!this.#session)
            return; // an answer that was under way
        element('no-slots').hidden = slots.length > 0;
        const known = this.#cards.size;
        for (const [name, card] of this.#cards) {
            if (slots.some((slot) => slot.name === name))
                continue;
            card.element.remove();
            this.#cards.delete(name);
        }
        for (const slot of slots) {
            let card = this.#cards.get(slot.name);
            const wasEmpty = card?.slot.state === 'empty';
            if (card) {
                card.update(slot);
            } else {
                card = new SlotCard(slot, this.#actions(), this.#mayChange, this.#session.role === 'Administrator');
                this.#cards.set(slot.name, card);
                element('slots').append(card.element);
                card.setStored(this.#stored);
                card.setMediumPath(this.#api.mediumPath(slot.name));
                card.setProfilePath(this.#api.profilePath(slot.name));
                card.setMedium(this.#media.get(slot.name) ?? null);
            }
            if (slot.state === 'empty' && !wasEmpty)
                this.#askReport(card);
            this.#showResume(slot.name);
        }
        if (this.#cards.size > known)
            this.#askHeat();
    }

    #showResume(name) {
        const card = this.#cards.get(name);
        const medium = this.#media.get(name);
        const remembered = rememberedMedium(name);
        const { state, connectedVia, imageName } = card.slot;
        const waits = state !== 'empty' && connectedVia === 'applet' && imageName === remembered?.name;
        const shown = remembered && !medium?.active && (state === 'empty' || waits);
        const held = Boolean(medium) && (medium.taken || !waits); // else it is not what the slot waits for
        card.setResume(shown ? { ...remembered, held, only: waits } : null);
    }

    #tick() {
        this.#warnOfEnd();
        for (const card of this.#cards.values())
            card.tick();
    }

    async #askReport(card) {
        card.setReport(await this.#api.report(card.slot.name).catch(() => null));
    }

    async #askHeat() {
        if (!this.#session || document.visibilityState !== 'visible')
            return;
        for (const card of this.#cards.values()) {
            if (card.slot.state === 'empty')
                continue;
            const { buckets } = await this.#api.heat(card.slot.name).catch(() => ({ buckets: [] }));
            if (card.slot.state !== 'empty')
                card.setHeat(buckets);
        }
    }

    #actions() {
        return {
            insertPicked: async (name, kind, files, changes) => this.#serve(name, pickedMedium(kind, files), changes),
            insertWritableFile: async (name, changes) => this.#serve(name, await writableMedium(), changes),
            insertDrop: async (name, transfer, changes) => this.#serve(name, await droppedMedium(transfer), changes),
            insertHeld: async (name, changes) =>
                this.#serve(name, { source: this.#media.get(name).source, what: rememberedMedium(name) }, changes),
            insertUrl: (name, what) => this.#api.insert(name, what),
            insertUpload: (name, upload, more) => this.#api.insertUpload(name, upload, more),
            eject: (name) => this.#api.eject(name),
            dismiss: (name) => this.#api.dismiss(name),
            resume: async (name, kind, files, changes) => this.#resume(name, pickedMedium(kind, files), changes),
            forget: (name) => this.#forget(name),
        };
    }

    // --- what this browser serves ---

    /**
     * @param {string} name of the slot
     * @param {import('./local-media.js').LocalMedium} medium
     * @param {object} changes of its boot configurations; none: those of before, when it is inserted again
     */
    #serve(name, { source, what }, changes) {
        if (!source.size)
            throw new Error(`${what.name} is empty.`);
        const identity = { name: what.name, size: what.size, lastModified: what.lastModified };
        const all = { ...what, changes: Object.keys(changes).length ? changes : what.changes };
        const medium = new Medium(this.#api, name, source, { ...identity, ...all.changes }, () => this.#onMedium(name, medium, all));
        this.#media.set(name, medium);
        rememberMedium(name, all);
        this.#cards.get(name)?.setMedium(medium);
        medium.start();
    }

    #onMedium(name, medium, what) {
        if (this.#media.get(name) !== medium)
            return;
        if (!medium.active) {
            announce(`${name}: ${medium.end.words}`);
            if (medium.end.code === 1000)
                forgetMedium(name);
            else
                rememberMedium(name, what);
        }
        const card = this.#cards.get(name);
        if (!card)
            return;
        card.setMedium(medium);
        this.#showResume(name);
    }

    #resume(name, found, changes) {
        const remembered = rememberedMedium(name);
        const differs = difference(remembered, found.what);
        if (differs)
            throw new Error(`This is not the ${remembered.kind} that was inserted: ${differs}.`);
        this.#serve(name, { source: found.source, what: remembered }, changes);
    }

    #forget(name) {
        forgetMedium(name);
        this.#media.delete(name);
        this.#cards.get(name).setMedium(null);
        this.#showResume(name);
    }
}

// A file dropped beside a slot would make the browser leave the page.
function refuseStrayDrops() {
    for (const type of ['dragover', 'drop']) {
        addEventListener(type, (event) => {
            if (!event.dataTransfer?.types.includes('Files'))
                return;
            event.preventDefault();
            event.dataTransfer.dropEffect = 'none';
        });
    }
}

new App().start();
