import pytest

from mmmuse.command_line.option_values import parsed_options, written_value
from mmmuse.errors import InputError

VALUES = [
    *(1, -3, 1.5, 1e-5, float('nan'), True, None),
    *('a', 'a=b', 'my data/train', ' a', 'a  b', 'runs,1', 'a(b', '(1)', '[a]', "it's", "'a'", ''),
    *('10', '1e5', 'None', 'true', 'ü', 'a\\b', 'a\nb', 'a(b,c', 'C:\\new,1', "it's, yes"),
    *([], (), [1], (1,), (1, 2), ['a', 'b'], ['a,b', 1], ['1'], [0.1, None, True]),
    *([(1, 2), (3, 4)], [['a'], []]),
]


@pytest.mark.parametrize('value', VALUES, ids=repr)
def test_a_value_that_is_written_is_read_again(value):
    read = parsed_options([f'key={written_value(value)}'])['key']
    assert repr(read) == repr(value)


@pytest.mark.parametrize(
    ('text', 'value'),
    [
        ('[1,2.5,c]', [1, 2.5, 'c']),
        ('1,2', [1, 2]),
        ('a, b', ['a', 'b']),
        ('(1)', (1,)),
        ('[(a,b),(c,d)]', [('a', 'b'), ('c', 'd')]),
        ("'1,2'", '1,2'),
        ('"my data"', 'my data'),
        ("['a,b',1]", ['a,b', 1]),
        ('my data', 'my data'),
        ("it's", "it's"),
        ("'C:\\new'", 'C:\\new'),
        ("'x,(y'", 'x,(y'),
        ("['x)',1]", ['x)', 1]),
        ('[(1),(2)]', [(1,), (2,)]),
        ('[0x10]', ['0x10']),
        ('[...]', ['...']),
    ],
)
def test_a_text_is_read_as_mmengine_does_but_for_quotes_and_spaces(text, value):
    assert parsed_options([f'key={text}']) == {'key': value}


@pytest.mark.parametrize(
    ('options', 'value'),
    [
        (['a=[1,2]', 'a=x'], 'x'),
        (["a='q'", 'a=5'], 5),
        (["a=['x']", 'a=[c]'], ['c']),
        (['a=1', 'a=[1]', 'a=2,3'], [2, 3]),
    ],
)
def test_of_a_repeated_key_the_last_value_counts(options, value):
    assert parsed_options(options) == {'a': value}


@pytest.mark.parametrize('text', ['[a(,b)]', "['a(','b)', x]"])
def test_brackets_that_do_not_match_are_refused(text):
    with pytest.raises(InputError, match='--cfg-options a='):
        parsed_options([f'a={text}'])


@pytest.mark.parametrize(
    ('text', 'said'),
    [
        (
            "dict(_delete_=True, type='X')",
            r'a: a dict is not read; .* a\.type=NAME, and a\._delete_=True',
        ),
        ("{'type': 'X'}", 'a: a dict is not read'),
        ('{}', 'a: a dict is not read'),
        ('{type: X}', 'a: a dict is not read'),
        ("[1, dict(type='X')]", 'a: a list of dicts is not read'),
        ("[dict(type='X')]", 'a: a list of dicts is not read; write it into a config file'),
    ],
)
def test_how_to_write_a_dict_is_said(text, said):
    with pytest.raises(InputError, match=f'--cfg-options {said}'):
        parsed_options([f'a={text}'])


@pytest.mark.parametrize('text', ['{:06d}.png', "{'{id}'}.png", 'dict', 'dict(a)', "'dict(a)'"])
def test_a_text_that_resembles_a_dict_is_read(text):
    assert parsed_options([f'a={text}']) == {'a': text.strip("'")}


@pytest.mark.parametrize('value', [dict(type='X'), object()])
def test_what_cannot_be_written_is_refused(value):
    with pytest.raises(InputError, match='not a value for --cfg-options'):
        written_value(value)
