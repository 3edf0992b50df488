//! What has to happen in one step happens in a script. All keys of a script are of one session,
//! and so in one slot of a cluster.

use std::sync::LazyLock;

use redis::Script;

/// `KEYS: record` → the record, if there is one.
///
/// Reading needs no script; but a cluster's client that reads from replicas would send a plain
/// `HMGET` to one that lags behind, and an old refresh token is a spent one.
pub(super) static LOAD: LazyLock<Script> = LazyLock::new(|| {
    Script::new("return redis.call('HMGET', KEYS[1], 'version', 'record')") //
});

/// `KEYS: record; ARGV: expected version or '', new version, turn, owner of the lease or '', what
/// is kept, channel, record` → 1 if saved.
///
/// A message goes out when the turn or the tokens change and when a lease is given back, and not
/// when one is taken or renewed. `kept` is a hash, so that the tokens are in one field only.
///
/// The record counts and the news of it does not: a user without the right to publish must not
/// lose a refresh token by that.
pub(super) static SAVE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local old = redis.call('HMGET', KEYS[1], 'version', 'turn', 'kept', 'leased')
         if (old[1] or '') ~= ARGV[1] then return 0 end
         local kept = redis.sha1hex(ARGV[5])
         redis.call('HSET', KEYS[1], 'version', ARGV[2], 'turn', ARGV[3], 'kept', kept,
             'leased', ARGV[4], 'record', ARGV[7])
         local freed = (old[4] or '') ~= '' and ARGV[4] == ''
         if old[2] ~= ARGV[3] or old[3] ~= kept or freed then
             redis.pcall('PUBLISH', ARGV[6], ARGV[3])
         end
         return 1",
    )
});
