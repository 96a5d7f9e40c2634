// What a worker remembers: the ids of the last deliveries, and the last event.

export class Deliveries {
    /** In the order in which they arrived. */
    #ids = new Set();
    last;

    /** Remembers an event, and at most this number of ids. Returns whether its id is new. */
    add(event, most) {
        if (this.#ids.has(event.delivery)) return false;
        this.#ids.add(event.delivery);
        for (const oldest of this.#ids) {
            if (this.#ids.size <= most) break;
            this.#ids.delete(oldest);
        }
        this.last = event;
        return true;
    }

    has(id) {
        return this.#ids.has(id);
    }

    save() {
        return { ids: [...this.#ids], last: this.last };
    }

    load({ ids, last }) {
        this.#ids = new Set(ids);
        this.last = last;
    }
}
