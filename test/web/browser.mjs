// Chromium for the page's tests, driven by playwright-core from the folder in
// WEB_TEST_DIR (test/web/run puts it there); null when one of them is missing.

import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const executablePath = '/usr/bin/chromium'; // Debian's

export async function launch() {
    const folder = process.env.WEB_TEST_DIR;
    if (!existsSync(executablePath) || !folder || !existsSync(join(folder, 'node_modules/playwright-core')))
        return null;
    const { chromium } = createRequire(join(folder, 'index.js'))('playwright-core');
    // As root, as in a container, Chromium's own sandbox can't be.
    return chromium.launch({ executablePath, args: process.getuid() === 0 ? ['--no-sandbox'] : [] });
}
