/** Numbers in words, and the small things that every view needs. */

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];

export function humanSize(bytes) {
    let unit = 0;
    while (bytes >= 1024 && unit < UNITS.length - 1) {
        bytes /= 1024;
        unit++;
    }
    return `${unit === 0 || bytes >= 100 ? Math.round(bytes) : bytes.toFixed(1)} ${UNITS[unit]}`;
}

export function humanRate(bytesPerSecond) {
    return `${humanSize(bytesPerSecond)}/s`;
}

export function humanTime(seconds) {
    if (seconds < 60)
        return `${Math.max(1, Math.round(seconds))} s`;
    if (seconds < 3600)
        return `${Math.round(seconds / 60)} min`;
    return `${(seconds / 3600).toFixed(1)} h`;
}

/** When it was: "12:04: ", or with the date, of more than a day ago; '' for a clock that was not set. */
export function timeWords(seconds) {
    return seconds > 1e9 ? `${clockWords(new Date(seconds * 1000))}: ` : '';
}

function clockWords(date) {
    const day = Date.now() - date > 86_400_000 ? { day: 'numeric', month: 'short' } : {};
    return date.toLocaleString('en-GB', { ...day, hour: '2-digit', minute: '2-digit' });
}

export function humanRoundTrip(microseconds) {
    if (microseconds < 50)
        return '< 0.1 ms';
    return microseconds < 10_000 ? `${(microseconds / 1000).toFixed(1)} ms` : `${Math.round(microseconds / 1000)} ms`;
}

/** @param {object} report of api.report() */
export function reportWords({ image, host, fetched, profile }) {
    const seconds = (ms) => `${(ms / 1000).toFixed(1)} s`;
    const [longest] = host.longest;
    const words = [`${humanSize(host.bytes)} of ${image} read in ${seconds(host.ms)}`];
    if (host.stalls)
        words.push(`${host.stalls} of ${host.reads} reads waited, ${seconds(host.stalledMs)} in all, ${seconds(longest.waitedMs)} at most`);
    else
        words.push('no read waited');
    if (host.failures)
        words.push(`${host.failures} failed`);
    words.push(`${humanSize(fetched.bytes)} fetched, ${humanSize(fetched.inVain)} of it in vain`);
    if (profile !== 'none')
        words.push(profile === 'followed' ? 'by its boot profile' : 'its boot profile did not fit');
    return `The last boot: ${words.join('; ')}.`;
}

/** What the host did not get, of api.js; `told`: why is said already. */
export function failedReadsWords({ count, offset, time, why }, told) {
    const words = `${count} ${count === 1 ? 'read' : 'reads'} failed, last at ${clockWords(new Date(time))}, offset ${offset}`;
    return told ? `${words}.` : `${words}: ${why}`;
}

export function percent(part, whole) {
    return whole ? `${Math.round(100 * part / whole)} %` : '–';
}

/**
 * The daemon's words, which in a log come after a colon, as a sentence. A first word that may be a
 * name, a path or a URL is left alone.
 */
export function sentence(words) {
    const begun = words.replace(/^[a-z]+(?=[ ,'])/, (word) => word[0].toUpperCase() + word.slice(1));
    return /[\p{L}\p{N})"']$/u.test(begun) ? `${begun}.` : begun;
}

/** Kinds of errors, beside Error itself, whose messages are words for people. */
export const ownWords = new Set([Error]);

const BROWSER_WORDS = {
    NotFoundError: 'The file is not there any more, or can\'t be read.',
    NotReadableError: 'The file can\'t be read any more: it was changed, moved or removed. Pick it again.',
    NotAllowedError: 'The browser was not allowed to do that.',
    SecurityError: 'The browser does not allow that.',
    QuotaExceededError: 'The browser has no room left.',
};

/** What failed, for people: a browser's own exceptions are for programmers. */
export function errorWords(error) {
    if (ownWords.has(error?.constructor))
        return error.message;
    return BROWSER_WORDS[error?.name] ?? `The browser failed (${error?.name ?? 'for an unknown reason'}).`;
}

/** A copy of a <template>, with its [data-part] elements by name. */
export function instantiate(templateId) {
    const root = document.getElementById(templateId).content.firstElementChild.cloneNode(true);
    const parts = {};
    for (const element of root.querySelectorAll('[data-part]'))
        parts[element.dataset.part] = element;
    return { root, parts };
}

/** Only what changed is written, so that a screen reader is not told the same again. */
export function setText(element, text) {
    if (element.textContent !== text)
        element.textContent = text;
}

/** Told to a screen reader, once. */
export function announce(text) {
    document.getElementById('live').textContent = text;
}

/** @returns {Promise<string>} the value of the button, '' for the one that cancels */
function choose(id, question) {
    const dialog = document.getElementById(id);
    document.getElementById(`${id}-text`).textContent = question;
    dialog.returnValue = '';
    dialog.showModal();
    return new Promise((resolve) => {
        dialog.addEventListener('close', () => resolve(dialog.returnValue), { once: true });
    });
}

/** @returns {Promise<boolean>} */
export async function confirmDialog(question, action) {
    document.getElementById('confirm-yes').textContent = action;
    return await choose('confirm', question) === 'yes';
}

/** What is to become of what the host wrote? @returns {Promise<'download'|'discard'|''>} */
export function ejectWrittenDialog(question) {
    return choose('eject-written', question);
}
