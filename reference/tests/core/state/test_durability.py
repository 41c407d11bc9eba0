"""Effects that wait for their write."""

from meshwire_reference.core.effects import Consumed, Send
from meshwire_reference.core.state.durability import Durability


class TestDurability:
    """Durable before visible."""

    @staticmethod
    def effect(connection: int, data: bytes, after: int | None = None) -> Send:
        """Return an effect that a peer sees."""
        return Send(connection=connection, stream=1, data=data, after=after)

    def test_an_effect_waits_for_its_write_and_holds_later_ones(self) -> None:
        """In order on one connection, while another goes on."""
        durability = Durability()
        number = durability.begin_write("a:1")
        first, second = self.effect(1, b"1", number), self.effect(1, b"2")

        assert not durability.admit(first)
        assert not durability.admit(second)
        assert durability.admit(self.effect(2, b"3"))
        assert durability.note_durable(number) == [first, second]
        assert durability.admit(self.effect(1, b"4", number))

    def test_later_writes_do_not_free_earlier_holds_out_of_order(self) -> None:
        """Effects of the second write wait if only the first is durable."""
        durability = Durability()
        one, two = durability.begin_write("a:1"), durability.begin_write("a:2")
        durability.admit(self.effect(1, b"1", one))
        durability.admit(self.effect(1, b"2", two))

        assert [effect.after for effect in durability.note_durable(one)] == [one]
        assert durability.pending("a:1") is None
        assert durability.pending("a:2") == two

    def test_credit_never_waits(self) -> None:
        """Giving back credit shows nothing."""
        durability = Durability()
        durability.admit(self.effect(1, b"1", durability.begin_write("a:1")))

        assert durability.admit(Consumed(connection=1, stream=1, count=9))
