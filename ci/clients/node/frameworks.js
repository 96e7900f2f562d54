// What Node applications put between themselves and the cache: Keyv, and express-session over connect-redis.

'use strict';

const assert = require('node:assert');
const { default: KeyvRedis } = require('@keyv/redis');
const { RedisStore } = require('connect-redis');
const session = require('express-session');
const { Keyv } = require('keyv');
const { createClient } = require('redis');
const { Client, finish, port, version } = require('./harness');

async function keyv(client) {
    const store = new KeyvRedis(`redis://127.0.0.1:${port}/9`);
    const cache = new Keyv({ store, namespace: 'pages' });
    cache.on('error', console.error);

    await client.step('get, set with a lifetime', async () => {
        await cache.clear();
        assert.ok(await cache.set('page', { title: 'Ulm' }, 60000));
        assert.deepEqual(await cache.get('page'), { title: 'Ulm' });
        assert.equal(await cache.get('none'), undefined);
        assert.ok(await cache.has('page'));
    });

    await client.step('get_many, set_many, delete_many', async () => {
        await cache.setMany(Array.from({ length: 50 }, (_, i) => ({ key: `m:${i}`, value: i, ttl: 60000 })));
        assert.deepEqual(await cache.getMany(['m:1', 'none', 'm:49']), [1, undefined, 49]);
        await cache.deleteMany(['m:1', 'm:49']);
        assert.deepEqual(await cache.getMany(['m:1', 'm:2']), [undefined, 2]);
    });

    await client.step('delete', async () => {
        assert.ok(await cache.delete('page'));
        assert.equal(await cache.get('page'), undefined);
    });

    await client.step('clear', async () => {
        await cache.clear();
        assert.equal(await cache.get('m:2'), undefined);
    });

    await cache.disconnect();
}

async function sessions(client) {
    const redis = await createClient({ url: `redis://127.0.0.1:${port}/9` }).connect();
    const store = new RedisStore({ client: redis, prefix: 'sess:', ttl: 60 });

    await client.step('sessions', async () => {
        await redis.flushDb();
        const handle = session({ store, secret: 'only for this check', resave: false, saveUninitialized: false });
        // A visitor comes twice, with the cookie of the first answer.
        const visit = (cookie, action) =>
            new Promise((resolve, reject) => {
                const headers = {};
                const request = { url: '/', originalUrl: '/', headers: { cookie }, connection: {} };
                const response = {
                    headersSent: false,
                    setHeader: (name, value) => { headers[name.toLowerCase()] = value; },
                    getHeader: (name) => headers[name.toLowerCase()],
                    writeHead() { this.headersSent = true; },
                    _implicitHeader() { this.writeHead(); },
                    write: () => true,
                    end: () => resolve({ cookie: String(headers['set-cookie'] ?? '').split(';')[0], seen: request.seen }),
                };
                handle(request, response, (error) => {
                    if (error) return reject(error);
                    request.seen = action(request.session);
                    response.writeHead(200);
                    return response.end();
                });
            });
        const first = await visit(undefined, (mine) => { mine.cart = [1, 2, 3]; });
        assert.match(first.cookie, /^connect\.sid=/);
        const second = await visit(first.cookie, (mine) => mine.cart);
        assert.deepEqual(second.seen, [1, 2, 3]);
        const all = await store.all();
        assert.equal(all.length, 1);
        assert.equal(await store.length(), 1);
        await store.destroy(all[0].id);
        assert.equal(await store.get(all[0].id), undefined);
    });

    await client.step('touch', async () => {
        const mine = { cookie: { originalMaxAge: null }, cart: [] };
        await store.set('sid', mine);
        await store.touch('sid', mine);
        assert.ok((await redis.ttl('sess:sid')) > 50);
    });

    await client.step('clear', async () => {
        await store.clear();
        assert.equal(await store.length(), 0);
    });

    await redis.close();
}

(async () => {
    await keyv(new Client('Keyv', version('keyv'), 'Frameworks', `@keyv/redis ${version('@keyv/redis')}`));
    await sessions(new Client('express-session', version('express-session'), 'Frameworks', `connect-redis ${version('connect-redis')}`));
    finish();
})();
