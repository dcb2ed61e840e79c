/** Files dropped on `target`; `zone` shows that they may be. */
export function setUpDrop(target, zone, allowed, onDrop) {
    let depth = 0; // dragenter and dragleave come for each element within
    const leave = () => {
        depth = 0;
        zone.classList.remove('over');
    };
    const isFiles = (event) => event.dataTransfer.types.includes('Files');
    target.addEventListener('dragenter', (event) => {
        if (!isFiles(event) || !allowed())
            return;
        depth++;
        zone.classList.add('over');
    });
    target.addEventListener('dragleave', () => --depth > 0 || leave());
    target.addEventListener('dragover', (event) => {
        if (!isFiles(event) || !allowed())
            return;
        event.preventDefault();
        event.stopPropagation();
        event.dataTransfer.dropEffect = 'copy';
    });
    target.addEventListener('drop', (event) => {
        leave();
        if (!isFiles(event) || !allowed())
            return;
        event.preventDefault();
        event.stopPropagation();
        onDrop(event.dataTransfer);
    });
}
