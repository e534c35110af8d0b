/*
 * timestamp.c - points in time as users write them (RFC 3339), without the C
 * library's time zones and locales.
 *
 * Layer: client.
 */
#include <assert.h>
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "client/remote/remote.h"

#define DAY_MS 86400000

/* Days from 1970-01-01 to a date of the proleptic Gregorian calendar, with
 * years that begin in March, so that the leap day comes last. */
static int64_t
days_from_date(int64_t year, int month, int day)
{
    const int64_t y = month <= 2 ? year - 1 : year;
    const int64_t era = y / 400;
    const int64_t year_of_era = y - era * 400;
    const int64_t day_of_year =
        (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

    assert(month >= 1 && month <= 12);
    assert(day >= 1 && day <= 31);
    return era * 146097 + year_of_era * 365 + year_of_era / 4 -
           year_of_era / 100 + day_of_year - 719468;
}

static void
date_from_days(int64_t days, int *out_year, int *out_month, int *out_day)
{
    const int64_t z = days + 719468;
    const int64_t era = z / 146097;
    const int64_t doe = z - era * 146097;
    const int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    const int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    const int64_t mp = (5 * doy + 2) / 153;
    const int month = (int)(mp < 10 ? mp + 3 : mp - 9);

    assert(days >= 0);
    assert(doe >= 0 && doe < 146097 && doy >= 0 && doy <= 365);
    *out_day = (int)(doy - (153 * mp + 2) / 5 + 1);
    *out_month = month;
    *out_year = (int)(yoe + era * 400 + (month <= 2 ? 1 : 0));
}

/* Exactly `count` digits, then `*text` points past them. */
static bool
take_digits(const char **text, int count, int *out)
{
    int value = 0;

    assert(count > 0 && count <= 9);
    for (int i = 0; i < count; i++, (*text)++) {
        if (!isdigit((unsigned char)**text))
            return false;
        value = value * 10 + (**text - '0');
    }
    *out = value;
    return true;
}

static bool
take_char(const char **text, char c)
{
    if (tolower((unsigned char)**text) != tolower((unsigned char)c))
        return false;
    (*text)++;
    return true;
}

static int
days_in_month(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    const bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

    assert(month >= 1 && month <= 12);
    return month == 2 && leap ? 29 : days[month - 1];
}

/* ".123456": milliseconds, what is finer is cut. */
static bool
take_fraction(const char **text, int *out_ms)
{
    int unit = 100;

    *out_ms = 0;
    if (!take_char(text, '.'))
        return true;
    if (!isdigit((unsigned char)**text))
        return false;
    for (; isdigit((unsigned char)**text); (*text)++, unit /= 10)
        *out_ms += unit * (**text - '0');
    return true;
}

/* "Z" or "+02:00"; minutes east. */
static bool
take_zone(const char **text, int *out_minutes)
{
    const int sign = **text == '-' ? -1 : 1;
    int hours;
    int minutes;

    *out_minutes = 0;
    if (take_char(text, 'Z'))
        return true;
    if (!take_char(text, '+') && !take_char(text, '-'))
        return false;
    if (!take_digits(text, 2, &hours) || !take_char(text, ':') ||
        !take_digits(text, 2, &minutes) || hours > 23 || minutes > 59)
        return false;
    *out_minutes = sign * (hours * 60 + minutes);
    return true;
}

/* "@1700000000" or "@1700000000.25" */
static bool
parse_unix(const char *text, uint64_t *out_unix_ms)
{
    uint64_t seconds = 0;
    int ms;
    int digits = 0;

    for (; isdigit((unsigned char)*text); text++, digits++)
        seconds = digits < 12 ? seconds * 10 + (uint64_t)(*text - '0') : 0;
    if (digits == 0 || digits > 12 || !take_fraction(&text, &ms) ||
        *text != '\0')
        return false;
    assert(ms >= 0 && ms < 1000);
    *out_unix_ms = seconds * 1000 + (uint64_t)ms;
    return true;
}

bool
ramet_time_parse(const char *text, uint64_t *out_unix_ms)
{
    int year, month, day, hour, minute, second, ms, zone;
    int64_t at;

    if (*text == '@')
        return parse_unix(text + 1, out_unix_ms);
    if (!take_digits(&text, 4, &year) || !take_char(&text, '-') ||
        !take_digits(&text, 2, &month) || !take_char(&text, '-') ||
        !take_digits(&text, 2, &day) ||
        (!take_char(&text, 'T') && !take_char(&text, ' ')) ||
        !take_digits(&text, 2, &hour) || !take_char(&text, ':') ||
        !take_digits(&text, 2, &minute) || !take_char(&text, ':') ||
        !take_digits(&text, 2, &second) || !take_fraction(&text, &ms) ||
        !take_zone(&text, &zone) || *text != '\0')
        return false;
    /* 60 is a leap second: the first instant of the next minute. */
    if (month < 1 || month > 12 || day < 1 ||
        day > days_in_month(year, month) || hour > 23 || minute > 59 ||
        second > 60)
        return false;
    at = days_from_date(year, month, day) * DAY_MS +
         ((int64_t)(hour * 60 + minute - zone) * 60 + second) * 1000 + ms;
    if (at < 0)
        return false;
    assert(ms >= 0 && ms < 1000);
    *out_unix_ms = (uint64_t)at;
    return true;
}

void
ramet_time_format(uint64_t unix_ms, char out[32])
{
    /* Past the year 9999 the text would not be a time any more. */
    const uint64_t max_ms = 253402300799999u;
    const uint64_t at = unix_ms <= max_ms ? unix_ms : max_ms;
    const int in_day = (int)(at % DAY_MS);
    int year, month, day;

    date_from_days((int64_t)(at / DAY_MS), &year, &month, &day);
    assert(month >= 1 && month <= 12 && day >= 1 &&
           day <= days_in_month(year, month));
    snprintf(out, 32, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", year % 10000,
             month % 100, day % 100, in_day / 3600000, in_day / 60000 % 60,
             in_day / 1000 % 60, in_day % 1000);
}
