/*
 * The sections, one row each: parser, --set, dump and sample go by the table, and how the parser puts values
 * into a config. Private to config/.
 */
#ifndef CONFIG_SECTIONS_H
#define CONFIG_SECTIONS_H

#include "config/config.h"
#include "config/keys.h"

struct section {
    const char *name;  /* "daemon"; in a section that may be there several times: the word before its NAME */
    size_t offset;     /* in struct config, of the section's struct, or of the pointer to its items */
    const char *about; /* a comment in the sample; NULL: none */
    /* Only for a section that may be there several times. An item begins with its name. */
    size_t count;         /* the offset of the number of items */
    size_t size, line;    /* of an item, and the offset of its line in it */
    unsigned most;        /* how many items there may be; 0: the section is there once */
    const char *heading;  /* in the sample */
};

extern const struct section config_sections[KEY_SECTIONS];
/* "[daemon], ... or [slot NAME]", and "daemon.KEY=VALUE, ... or slot.NAME.KEY=VALUE". */
void sections_expected(char *out, size_t size);
void sections_assignments(char *out, size_t size);

static inline bool section_repeats(enum key_section section)
{
    return config_sections[section].most > 0;
}

/* The struct of a section that is there once. */
void *section_struct(const struct config *config, enum key_section section);
unsigned section_count(const struct config *config, enum key_section section);
void *section_item(const struct config *config, enum key_section section, unsigned index);
void *section_find(const struct config *config, enum key_section section, const char *name); /* NULL: there is none */
void *section_add(struct config *config, enum key_section section, const char *name); /* zeroed; NULL: there are too many */
unsigned *section_line_of(enum key_section section, void *item);
/* What is wrong with the name of an item; NULL: nothing. */
const char *section_name_problem(enum key_section section, const char *name);

/* Each struct with keys of one section, those of the slots' [http] included. */
void sections_each(const struct config *config, void (*visit)(enum key_section section, void *base));

void config_empty(struct config *config); /* sets the defaults, without any section that has a name */
void *config_add(struct config *config, enum key_section section, const char *name); /* the same with its defaults */
/* False: `expected` says what was expected. `item`: of a section that may be there several times. */
bool config_assign(struct config *config, enum key_section section, void *item, const struct key *key,
                   const char *value, char *expected, size_t size);

#endif
