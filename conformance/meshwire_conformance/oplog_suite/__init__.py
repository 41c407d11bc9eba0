"""The part of the suite that judges sessions of `oplog/1` over WebSockets."""
