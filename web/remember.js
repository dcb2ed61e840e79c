/**
 * What was inserted from this tab, over a reload: names, sizes and times, in
 * sessionStorage. The browser gives no way to keep the file itself, so the user
 * is asked to pick it again.
 */

const SLOTS = 'nbd-proxy.slots';
const UPLOADS = 'nbd-proxy.uploads';

/** @typedef {{name: string, size: number, lastModified: number, kind: 'file'|'folder', changes?: object}} Remembered
 * `changes`: what was wished of its boot configurations */

function load(key) {
    try {
        const value = JSON.parse(sessionStorage.getItem(key));
        return value && typeof value === 'object' ? value : {};
    } catch {
        return {};
    }
}

function change(key, name, value) {
    const all = load(key);
    if (value)
        all[name] = value;
    else
        delete all[name];
    try {
        sessionStorage.setItem(key, JSON.stringify(all));
    } catch { /* storage is off or full: a reload will not remember */ }
}

/** @returns {Remembered|undefined} */
export const rememberedMedium = (slot) => load(SLOTS)[slot];
export const rememberMedium = (slot, medium) => change(SLOTS, slot, medium);
export const forgetMedium = (slot) => change(SLOTS, slot, null);

/** @returns {{size: number, lastModified: number}|undefined} */
export const rememberedUpload = (name) => load(UPLOADS)[name];
export const rememberUpload = (name, file) => change(UPLOADS, name, { size: file.size, lastModified: file.lastModified });
export const forgetUpload = (name) => change(UPLOADS, name, null);

// What failed is told to a browser once: until it is dismissed there, and in all of its tabs.
const DISMISSED = 'nbd-proxy.dismissed';
const errorKey = ({ error, errorAt }) => `${errorAt} ${error}`;

function dismissed() {
    try {
        return JSON.parse(localStorage.getItem(DISMISSED)) ?? {};
    } catch {
        return {};
    }
}

export const dismissedError = (slot) => dismissed()[slot.name] === errorKey(slot);

export function dismissError(slot) {
    try {
        localStorage.setItem(DISMISSED, JSON.stringify({ ...dismissed(), [slot.name]: errorKey(slot) }));
    } catch { /* it is told again */ }
}

/** '' if it is the same, else what differs, in words. */
export function difference(remembered, found) {
    if (remembered.name !== found.name)
        return `its name is ${found.name}`;
    if (remembered.size !== found.size)
        return `it has ${found.size} bytes, not ${remembered.size}`;
    if (remembered.lastModified !== found.lastModified)
        return 'it was changed since';
    return '';
}
