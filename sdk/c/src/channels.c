// Channels.

#include "internal.h"

// The most messages of a page, which is the default too.
#define MOST 1000

bool ff_channels_publish(const char *channel, ff_body body)
{
    guest_string_t name;
    fanfare_payload_t payload;
    fanfare_call_error_t error;
    ff_begin();
    if (!ff_in(&name, channel, "the channel") || !ff_in_body(&payload, body)) return false;
    return fanfare_module_channels_publish(ff_caller, &name, &payload, &error) || ff_refused(&error);
}

bool ff_channels_publish_and_wait(const char *channel, ff_body body, ff_position *position)
{
    guest_string_t name;
    fanfare_payload_t payload;
    fanfare_call_error_t error;
    fanfare_module_channels_blocking_option_position_t place;
    ff_begin();
    if (!ff_in(&name, channel, "the channel") || !ff_in_body(&payload, body)) return false;
    if (!fanfare_module_channels_blocking_publish(ff_caller, &name, &payload, &place, &error)) return ff_refused(&error);
    if (position) *position = (ff_position){ 0 };
    if (position && place.is_some) *position = (ff_position){ ff_out(place.val.epoch), place.val.offset };
    fanfare_module_channels_blocking_option_position_free(&place);
    return !ff_is_exhausted();
}

const char *ff_channels_subscribe(const char *channel, const char *route)
{
    guest_string_t name, path, made;
    fanfare_call_error_t error;
    ff_begin();
    if (!ff_in(&name, channel, "the channel") || !ff_in(&path, route, "the route")) return NULL;
    if (!fanfare_module_channels_subscribe(ff_caller, &name, &path, &made, &error)) {
        ff_refused(&error);
        return NULL;
    }
    const char *copy = ff_out(made);
    guest_string_free(&made);
    return copy;
}

bool ff_channels_unsubscribe(const char *subscription)
{
    guest_string_t name;
    fanfare_call_error_t error;
    ff_begin();
    if (!ff_in(&name, subscription, "the subscription")) return false;
    return fanfare_module_channels_unsubscribe(ff_caller, &name, &error) || ff_refused(&error);
}

bool ff_channels_add(const char *channel, const char *session)
{
    guest_string_t name, client;
    fanfare_call_error_t error;
    ff_begin();
    if (!ff_in(&name, channel, "the channel") || !ff_in(&client, session, "the session")) return false;
    return fanfare_module_channels_add(ff_caller, &name, &client, &error) || ff_refused(&error);
}

bool ff_channels_kick_out(const char *channel, const char *session, const char *message)
{
    guest_string_t name, client, why;
    fanfare_call_error_t error;
    ff_begin();
    if (!ff_in(&name, channel, "the channel") || !ff_in(&client, session, "the session") || !ff_in(&why, message, "the message"))
        return false;
    return fanfare_module_channels_kick_out(ff_caller, &name, &client, &why, &error) || ff_refused(&error);
}

uint32_t ff_channels_count(const char *channel)
{
    guest_string_t name;
    ff_begin();
    return ff_in(&name, channel, "the channel") ? fanfare_module_channels_count(&name) : 0;
}

static const ff_page *out_page(const fanfare_channel_page_t *from)
{
    ff_page *to = ff_alloc(sizeof *to);
    ff_message *messages = ff_alloc(from->messages.len * sizeof *messages);
    if (!to || !messages) return NULL;
    for (size_t i = 0; i < from->messages.len; i++) {
        const fanfare_channel_message_t *one = &from->messages.ptr[i];
        messages[i] = (ff_message){ one->offset, one->at_ms, ff_out_option(one->session), ff_out_body(&one->payload),
                                    FF_OUT_PAIRS(one->extra) };
    }
    *to = (ff_page){ ff_out(from->epoch), messages, from->messages.len, from->latest, from->complete };
    return ff_is_exhausted() ? NULL : to;
}

const ff_page *ff_channels_history(const char *channel, const ff_position *after, uint32_t most)
{
    guest_string_t name;
    fanfare_position_t place, *from = after ? &place : NULL;
    fanfare_channel_page_t page;
    fanfare_call_error_t error;
    ff_begin();
    if (!ff_in(&name, channel, "the channel")) return NULL;
    if (after) {
        if (!ff_in(&place.epoch, after->epoch, "the epoch")) return NULL;
        place.offset = after->offset;
    }
    if (!fanfare_module_channels_blocking_history(ff_caller, &name, from, most ? most : MOST, &page, &error)) {
        ff_refused(&error);
        return NULL;
    }
    const ff_page *made = out_page(&page);
    fanfare_channel_page_free(&page);
    return made;
}

const ff_members *ff_channels_members(const char *channel)
{
    guest_string_t name;
    fanfare_module_channels_blocking_list_channel_member_t from;
    fanfare_call_error_t error;
    ff_begin();
    if (!ff_in(&name, channel, "the channel")) return NULL;
    if (!fanfare_module_channels_blocking_members(ff_caller, &name, &from, &error)) {
        ff_refused(&error);
        return NULL;
    }
    ff_members *to = ff_alloc(sizeof *to);
    ff_member *all = ff_alloc(from.len * sizeof *all);
    if (to && all) {
        for (size_t i = 0; i < from.len; i++) {
            const fanfare_channel_member_t *one = &from.ptr[i];
            all[i] = (ff_member){ ff_out(one->session), ff_out_option(one->uid), ff_out_option(one->info) };
        }
        *to = (ff_members){ all, from.len };
    }
    fanfare_module_channels_blocking_list_channel_member_free(&from);
    return ff_is_exhausted() ? NULL : to;
}
