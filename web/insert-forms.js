/** What the forms of a slot's card say, as the daemon takes it. */

const CONFIG_FILES_MAX = 40 << 10; // bytes: in base64 and with their names they must fit in one request

/** What a form says of the image's boot configurations. */
export function bootChanges(form) {
    const { kernelArgs, menuTimeout, menuDefault } = form.elements;
    if (!form.checkValidity()) // nobody submits it, so the browser does not say so
        throw new Error('The menu timeout is a whole number of seconds, 3600 at most.');
    return {
        ...(kernelArgs.value.trim() && { kernelArgs: kernelArgs.value.trim() }),
        ...(menuTimeout.value && { menuTimeout: Number(menuTimeout.value) }),
        ...(menuDefault.value.trim() && { menuDefault: menuDefault.value.trim() }),
    };
}

/** Files as the daemon takes them: what is no text in base64. */
export async function configFiles(files) {
    const read = {};
    if (files.reduce((sum, { size }) => sum + size, 0) > CONFIG_FILES_MAX)
        throw new Error('The files are larger than 40 KiB together. Upload them to the BMC as a tar, or as JSON.');
    for (const file of files) {
        const bytes = new Uint8Array(await file.arrayBuffer());
        try {
            read[file.name] = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
        } catch {
            read[file.name] = { base64: btoa(String.fromCharCode(...bytes)) };
        }
    }
    return read;
}
