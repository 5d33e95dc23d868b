from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plantain.operators.errors import PromptError
from plantain.operators.prompts import CODECS, COLORMAPS, CURVES, DepthCurve, Prompt, Task

words = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=30).filter(
    str.strip
)
names = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cs"], exclude_characters=",=()"), min_size=1
).filter(str.strip)
colour = st.tuples(*[st.integers(0, 255)] * 3)
number = st.floats(0.01, 1e6)


@st.composite
def written(draw: st.DrawFn) -> str:
    """What a user may write for any task."""
    task = draw(st.sampled_from(Task))
    options = []
    if task in (Task.SEMANTIC, Task.INSTANCES, Task.REFER) and draw(st.booleans()):
        options.append("background=#{:02x}{:02x}{:02x}".format(*draw(colour)))
    if task is Task.PROMPT:
        options.append(f"codec={draw(st.sampled_from([codec for codec in CODECS if codec != 'masks']))}")
    if task is Task.DEPTH or "codec=depth" in options:
        if draw(st.booleans()):
            options.append(f"curve={draw(st.sampled_from([*CURVES, f'-{1 + draw(number)}/{draw(number)}']))}")
        if draw(st.booleans()):
            options.append(f"colormap={draw(st.sampled_from(COLORMAPS))}")
    body = ""
    match task:
        case Task.SEMANTIC:
            classes = draw(st.lists(names.map(str.strip), min_size=1, max_size=9, unique=True))
            if draw(st.booleans()):
                colours = draw(st.lists(colour, min_size=len(classes), max_size=len(classes), unique=True))
                classes = [
                    f"{name}=({r}, {g}, {b})" for name, (r, g, b) in zip(classes, colours, strict=True)
                ]
            body = ",".join(classes)
        case Task.INSTANCES:
            body = draw(names)
        case Task.REFER | Task.GENERATE | Task.PROMPT:
            body = draw(words)
    return task + (f"[{';'.join(options)}]" if options else "") + (f":{body}" if body else "")


@given(written())
def test_the_canonical_form_is_read_back_as_the_same_prompt(text):
    try:
        prompt = Prompt.parse(text)
    except PromptError:  # two equal colours
        return
    again = Prompt.parse(str(prompt))
    assert again == prompt
    assert str(again) == str(prompt)
    assert prompt.instruction()


@pytest.mark.parametrize(
    "text",
    [
        "semantic:car,person,road",
        "semantic:car=#ff0000,road=#00ff00",
        "semantic[background=#10aa05]:car,person",
        "semantic:sports car (red, open),tram",
        "instances:car",
        "refer:the man with the red umbrella, left of the door",
        "refer[colour=#00ff00]:the car",
        "depth",
        "depth[curve=street]",
        "depth[curve=-3.5/8.5;colormap=plasma]",
        "normals",
        "generate:a wet street at night",
        "prompt[codec=depth]:draw metres: near red, far blue",
    ],
)
def test_the_usual_ways_to_write_are_canonical(text):
    assert str(Prompt.parse(text)) == text


def test_case_and_blanks_do_not_matter():
    assert Prompt.parse("  Depth [ curve = street , colormap=gray ] ") == Prompt.parse(
        "depth[curve=street;colormap=gray]"
    )
    assert Prompt.parse("semantic: car , road") == Prompt.parse("semantic:car,road")


def test_defaults_follow_the_paper():
    refer = Prompt.parse("refer:the car")
    assert (refer.palette, refer.background, refer.codec) == (((255, 255, 0),), (0, 0, 0), "masks")
    assert Prompt.parse("depth").curve == DepthCurve(-3.0, 10 / 3)
    assert Prompt.parse("instances:car").palette == ()
    assert Prompt.parse("refer[background=yellow]:the car").palette != ((255, 255, 0),)


def test_class_colours_are_far_from_each_other_and_from_the_background():
    prompt = Prompt.parse("semantic[background=white]:a,b,c")
    assert (255, 255, 255) not in prompt.palette
    assert len(set(prompt.palette)) == 3


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "task '' is unknown: write semantic:CLASS,CLASS"),
        ("segment:car", "task 'segment:car' is unknown"),
        ("semantic", "names nothing"),
        ("semantic: ", "names nothing"),
        ("semantic:car,,road", "empty class name"),
        ("semantic:,", "empty class name"),
        ("semantic:car,road,car", "names car twice: name each class once"),
        ("semantic:car=#ff0000,road", "give a colour to every class or to none"),
        ("semantic:car=#ff0000,road=#ff0000", "have the same colour"),
        ("semantic:car=black", "have the same colour"),
        ("semantic:car=redd", "'redd' is no colour"),
        (f"semantic:{','.join(f'c{k}' for k in range(65))}", "has 65 classes: use at most 64"),
        ("instances:car,person", "write one instances:CLASS for each"),
        ("refer:", "names nothing"),
        ("depth:near", "takes no words after a colon"),
        ("depth[curve=steep]", "curve is paper, street or LAMBDA/C"),
        ("depth[curve=3/2]", "lambda must be below -1"),
        ("depth[curve=-3/0]", "c above 0"),
        ("depth[curve=nan/1]", "must be finite"),
        ("depth[curve=-inf/1]", "finite"),
        ("depth[curve=-3/inf]", "finite"),
        ("depth[colormap=jet]", "colormap 'jet' is unknown: use one of cube"),
        ("depth[background=red]", "depth has no option background"),
        ("normals[curve=street]", "normals has no option curve"),
        ("depth[curve]", "write options as [name=value;name=value]"),
        ("prompt[codec=image;curve=street]:any words", "prompt has no option curve"),
        ("prompt:any words", "must name its codec"),
        ("prompt[codec=masks]:any words", "masks need a legend"),
        ("prompt[codec=magic]:any words", "codec 'magic' is unknown"),
        ("generate", "names nothing"),
    ],
)
def test_a_mistake_is_named_with_what_to_write(text, said):
    with pytest.raises(PromptError) as caught:
        Prompt.parse(text)
    assert said in str(caught.value)


def test_instructions_say_what_the_decoder_expects():
    semantic = Prompt.parse("semantic:car=#ff0000").instruction()
    assert '{"car": <255, 0, 0>, "background": <0, 0, 0>}' in semantic
    assert '"car" instances are each represented by a unique' in Prompt.parse("instances:car").instruction()
    assert (
        "The red car is represented by a solid RGB(255, 255, 0)."
        in Prompt.parse("refer:the red car").instruction()
    )
    assert "plasma colormap" in Prompt.parse("depth[colormap=plasma]").instruction()
    assert Prompt.parse("prompt[codec=image]:as it is").instruction() == "as it is"


def test_a_curve_is_a_length_and_a_power():
    assert str(CURVES["street"]) == "street"
    assert str(DepthCurve(-2.5, 4.0)) == "-2.5/4.0"
    assert math.isclose(DepthCurve().c, 10 / 3)
