"""Files of a folder, as the data sets of OpenMMLab list them."""

from pathlib import Path

from mmengine.fileio import list_dir_or_file

from mmmuse.checkpoints.files_in_folder import files_in_folder


def tree(folder: Path) -> Path:
    (folder / 'real' / 'deep').mkdir(parents=True)
    (folder / 'data').mkdir()
    for name in ('real/b.png', 'real/deep/c.png', 'real/d.txt', 'data/a.png', 'data/.hidden.png'):
        (folder / name).touch()
    for link in ('first', 'second'):
        (folder / 'data' / link).symlink_to(folder / 'real')
    return folder / 'data'


def test_linked_folders_are_entered_by_each_of_their_paths_as_mmengine_does(tmp_path):
    data = tree(tmp_path)
    expected = sorted(
        str(data / name) for name in list_dir_or_file(data, False, suffix='.png', recursive=True)
    )
    assert sorted(files_in_folder(data, '.png')) == expected
    assert [Path(each).relative_to(data).as_posix() for each in expected] == [
        'a.png',
        'first/b.png',
        'first/deep/c.png',
        'second/b.png',
        'second/deep/c.png',
    ]


def test_links_in_a_circle_end(tmp_path):
    for name in 'ab':
        (tmp_path / name).mkdir()
        (tmp_path / name / f'{name}.png').touch()
    (tmp_path / 'a' / 'to_b').symlink_to(tmp_path / 'b')
    (tmp_path / 'b' / 'to_a').symlink_to(tmp_path / 'a')
    found = [
        Path(each).relative_to(tmp_path).as_posix() for each in files_in_folder(tmp_path / 'a')
    ]
    assert found == ['a/a.png', 'a/to_b/b.png']
