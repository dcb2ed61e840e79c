/*
 * Files as an ISO 9660 image, with Rock Ridge (RRIP 1.09, by which Linux and the BSDs read) and Joliet (by which Windows
 * does). The same files make the same bytes: all dates are the same one, owner is root, and only root reads them.
 *
 * By hand, because libarchive's writer makes the label "config-2" into CONFIG_2, by which no reader finds it, keeps what it
 * has in a file in /tmp until it is asked for the image, which may be on a flash, and overwrites nothing when it is done:
 * 450 lines of ECMA-119 against secrets where they should not be.
 */
#ifndef SEED_ISO_H
#define SEED_ISO_H

#include "base/bytes.h"
#include "seed/files.h"

#define SEED_LABEL_MAX 32

/* What is wrong with a label; NULL: nothing. Joliet has its first 16 characters. */
const char *seed_label_problem(const char *label);
/* The image; its bytes are secret (base/bytes.h). */
struct bytes *seed_iso_write(const struct seed_files *files, const char *label);

#endif
