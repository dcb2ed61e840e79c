#include "store/stick.h"

#include <string.h>

#define PARTITION    2048u /* sectors before it: 1 MiB, as partitions begin today */
#define RESERVED     32u
#define TABLES       2u
#define ROOT_CLUSTER 2u
#define CLUSTERS_MIN 65525u /* fewer would be FAT16 */
#define TYPE_FAT32   0x0c   /* with LBA */
#define BACKUP       6u     /* where the boot sector is a second time */
#define END_OF_CHAIN 0x0fffffffu

static void put16(unsigned char *at, unsigned value)
{
    at[0] = (unsigned char)value;
    at[1] = (unsigned char)(value >> 8);
}

static void put32(unsigned char *at, uint32_t value)
{
    put16(at, value & 0xffff);
    put16(at + 2, value >> 16);
}

const char *stick_label_problem(const char *label)
{
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
    if (strlen(label) > STICK_LABEL_MAX)
        return "A label has 11 characters at most.";
    return strspn(label, allowed) != strlen(label) ? "A label consists of A-Z, 0-9, _ and -." : NULL;
}

/* Sectors of a cluster, by the size of the volume in sectors (the specification's table for FAT32). */
static unsigned cluster_of(uint32_t sectors)
{
    static const struct {
        uint32_t sectors, cluster;
    } table[] = {{532480, 1}, {16777216, 8}, {33554432, 16}, {67108864, 32}};
    for (unsigned i = 0; i < sizeof table / sizeof *table; i++)
        if (sectors <= table[i].sectors)
            return table[i].cluster;
    return 64;
}

/* Of one table: the specification's formula, which may give a few sectors too many. */
static uint32_t table_size(uint32_t sectors, unsigned cluster)
{
    uint32_t each = (256 * cluster + TABLES) / 2;
    return (sectors - RESERVED + each - 1) / each;
}

static unsigned char *stick_add_sector(struct stick *stick, uint32_t at)
{
    struct stick_sector *sector = &stick->sectors[stick->count++];
    memset(sector, 0, sizeof *sector);
    sector->at = at;
    return sector->data;
}

static void put_signature(unsigned char *sector)
{
    put16(sector + 510, 0xaa55);
}

static void add_partition_table(struct stick *stick, uint32_t sectors, uint32_t id)
{
    static const unsigned char beyond[] = {0xfe, 0xff, 0xff}; /* cylinders, heads: LBA is meant */
    unsigned char *sector = stick_add_sector(stick, 0), *entry = sector + 446;
    put32(sector + 440, id);
    memcpy(entry + 1, beyond, sizeof beyond);
    entry[4] = TYPE_FAT32;
    memcpy(entry + 5, beyond, sizeof beyond);
    put32(entry + 8, PARTITION);
    put32(entry + 12, sectors);
    put_signature(sector);
}

static void put_label(unsigned char *at, const char *label)
{
    size_t length = strlen(label);
    memset(at, ' ', STICK_LABEL_MAX);
    memcpy(at, length ? label : "NO NAME", length ? length : 7);
}

static void add_boot_sector(struct stick *stick, uint32_t at, uint32_t sectors, uint32_t table, const char *label, uint32_t id)
{
    static const unsigned char jump[] = {0xeb, 0x58, 0x90};
    unsigned char *sector = stick_add_sector(stick, at);
    memcpy(sector, jump, sizeof jump);
    memcpy(sector + 3, "MSWIN4.1", 8); /* what the specification recommends */
    put16(sector + 11, STICK_SECTOR);
    sector[13] = (unsigned char)cluster_of(sectors);
    put16(sector + 14, RESERVED);
    sector[16] = TABLES;
    sector[21] = 0xf8; /* a fixed medium */
    put16(sector + 24, 63);
    put16(sector + 26, 255);
    put32(sector + 28, PARTITION);
    put32(sector + 32, sectors);
    put32(sector + 36, table);
    put32(sector + 44, ROOT_CLUSTER);
    put16(sector + 48, 1); /* where FSInfo is */
    put16(sector + 50, BACKUP);
    sector[64] = 0x80;
    sector[66] = 0x29; /* id, label and type follow */
    put32(sector + 67, id);
    put_label(sector + 71, label);
    memcpy(sector + 82, "FAT32   ", 8);
    put_signature(sector);
}

static void add_info(struct stick *stick, uint32_t at, uint32_t clusters)
{
    unsigned char *sector = stick_add_sector(stick, at);
    put32(sector, 0x41615252);
    put32(sector + 484, 0x61417272);
    put32(sector + 488, clusters - 1); /* free: all but the root's */
    put32(sector + 492, ROOT_CLUSTER + 1);
    put_signature(sector);
}

static void add_table(struct stick *stick, uint32_t at)
{
    unsigned char *sector = stick_add_sector(stick, at);
    put32(sector, 0x0ffffff8);
    put32(sector + 4, END_OF_CHAIN);
    put32(sector + 8, END_OF_CHAIN); /* the root directory has one cluster */
}

static void add_root(struct stick *stick, uint32_t at, const char *label)
{
    unsigned char *sector = stick_add_sector(stick, at);
    if (!*label)
        return;
    put_label(sector, label);
    sector[11] = 0x08;        /* the volume's label */
    put16(sector + 24, 0x21); /* 1980-01-01: a BMC's clock may not be set */
}

bool stick_plan(struct stick *stick, uint64_t size, const char *label, uint32_t id)
{
    if (size < STICK_SIZE_MIN || size > STICK_SIZE_MAX)
        return false;
    uint32_t sectors = (uint32_t)(size / STICK_SECTOR - PARTITION), table = table_size(sectors, cluster_of(sectors));
    uint32_t clusters = (sectors - RESERVED - TABLES * table) / cluster_of(sectors);
    if (clusters < CLUSTERS_MIN)
        return false;
    stick->size = size - size % STICK_SECTOR;
    stick->count = 0;
    add_partition_table(stick, sectors, id);
    for (uint32_t at = PARTITION; at <= PARTITION + BACKUP; at += BACKUP) {
        add_boot_sector(stick, at, sectors, table, label, id);
        add_info(stick, at + 1, clusters);
    }
    add_table(stick, PARTITION + RESERVED);
    add_table(stick, PARTITION + RESERVED + table);
    add_root(stick, PARTITION + RESERVED + TABLES * table, label);
    return true;
}
