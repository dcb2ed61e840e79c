// What a user does on the page, for its tests.

import assert from 'node:assert/strict';

/** Script errors and violations of the CSP, as they come. */
export function watchFaults(page) {
    const faults = [];
    page.on('pageerror', (error) => faults.push(error.message));
    page.on('console', (message) => {
        if (/Content Security Policy|Uncaught/.test(message.text()))
            faults.push(message.text());
    });
    return faults;
}

export async function logIn(page, user = 'admin', password = 'right') {
    await page.getByLabel('User').fill(user);
    await page.getByLabel('Password').fill(password);
    await page.getByRole('button', { name: 'Log in' }).click();
}

export const card = (page, name = 'slot0') => page.getByRole('article', { name: `Slot ${name}` });
export const state = (page, text, name) => card(page, name).locator('[data-part=state]', { hasText: text }).waitFor();
export const error = (page, text, name) => card(page, name).getByRole('alert').filter({ hasText: text }).waitFor();
export const pick = (page, name, path) => card(page, name).getByLabel(`Image for ${name}`).setInputFiles(path);

/** The file that the page asks for after a reload. */
export async function pickAgain(page, name, path) {
    const [chooser] = await Promise.all([page.waitForEvent('filechooser'),
        card(page, name).getByRole('button', { name: 'Pick it again' }).click()]);
    await chooser.setFiles(path);
}

export async function until(condition, what) {
    for (let i = 0; i < 200; i++) {
        if (await condition())
            return;
        await new Promise((resolve) => setTimeout(resolve, 50));
    }
    assert.fail(`in vain: ${what}`);
}
