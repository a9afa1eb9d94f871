from hfdistill.llama.room import Room


def test_room_is_what_rows_need_and_is_given_back():
    room = Room(128, block=64)
    assert room.fit(1, 900)
    assert (room.rows, room.positions) == (1, 960)
    assert not room.fit(1, 955)
    assert room.fit(1, 20)
    assert (room.rows, room.positions) == (1, 64)
    assert room.fit(100, 20)
    assert (room.rows, room.positions) == (125, 64)
    assert not room.fit(63, 20)
    assert room.fit(62, 20)
    assert room.rows == 62
    assert room.fit(0, 0)
    assert (room.rows, room.positions) == (0, 0)


def test_rows_that_join_one_by_one_do_not_each_make_it_anew():
    room = Room(128, block=64)
    assert sum(room.fit(rows, 100) for rows in range(1, 129)) < 22
    assert room.rows == 128


def test_never_less_than_the_fewest():
    room = Room(8, block=16, fewest_rows=8, fewest_positions=64)
    room.fit(0, 0)
    assert (room.rows, room.positions) == (8, 64)
