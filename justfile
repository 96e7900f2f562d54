# Everything that continuous integration checks.
check:
    bash .ci/run

# The quick part of it, while working.
quick:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings
    cargo test --workspace --lib

# Plays many more random sequences to Valkey and to this server.
differential sequences="20000":
    ci/setup.sh
    KV_VALKEY_SERVER="$PWD/.ci/cache/valkey-server" KV_REQUIRE_VALKEY=1 KV_DIFF_SEQUENCES={{sequences}} \
        cargo test --test differential -- --nocapture

# The same with memcached, which must be installed.
differential-memcached sequences="20000":
    KV_MEMCACHED="$(command -v memcached)" KV_REQUIRE_MEMCACHED=1 KV_DIFF_SEQUENCES={{sequences}} \
        cargo test --test memcached_differential -- --nocapture

# Compares with the other servers that are installed, in alternating slices; wants an otherwise idle machine.
bench *args="--with-limit --html target/compare.html":
    ci/setup.sh
    cargo build --release --workspace
    KV_VALKEY_SERVER="$PWD/.ci/cache/valkey-server" target/release/uring-bench compare {{args}}

# Instructions of one operation, the same at every run.
instructions:
    ci/instructions.sh

fuzz seconds="60":
    ci/fuzz.sh {{seconds}}
