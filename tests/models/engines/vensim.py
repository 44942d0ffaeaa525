"""Vensim models, one for each construct of the language that the pysd library has."""

from __future__ import annotations


def model(equations: str, *, stop: str = "10", step: str = "0.5", saveper: str = "TIME STEP") -> str:
    """A model file with these equations, each `name = expression ~~|`, and these times."""
    times = {"FINAL TIME": stop, "INITIAL TIME": "0", "SAVEPER": saveper, "TIME STEP": step}
    control = "".join(f"{name} = {value}\n\t~\t\n\t~\t\n\t|\n\n" for name, value in times.items())
    lines = equations.strip().replace("~~|", "\n\t~\t\n\t~\t\n\t|\n")
    return "{UTF-8}\n" + lines + "\n\n" + control


STOCKS = """
births = population * rate ~~|
rate = 0.03 ~~|
deaths = population / lifetime ~~|
lifetime = 60 ~~|
population = INTEG(births - deaths, start population) ~~|
start population = 100 ~~|
ratio = population / INITIAL(population) ~~|
"""
REGIONS = """
Region : North, South ~~|
rate[North] = 0.03 ~~|
rate[South] = 0.05 ~~|
people[Region] = INTEG(people[Region] * rate[Region], start[Region]) ~~|
start[Region] = 100, 200 ~~|
total = SUM(people[Region!]) ~~|
largest = VMAX(people[Region!]) ~~|
"""
AGES = """
Region : North, South ~~|
Age : young, middle, old ~~|
working : middle, old ~~|
rate[Region, Age] = 1, 2, 3; 4, 5, 6; ~~|
extra[Region, working] = 10 ~~|
extra[Region, young] = Time ~~|
people[Region, Age] = INTEG(rate[Region, Age] - people[Region, Age] / 20, 10) ~~|
by age[Age] = SUM(people[Region!, Age]) ~~|
workers = SUM(people[Region!, working!]) + SUM(extra[Region!, Age!]) ~~|
north[Age] = people[North, Age] ~~|
"""
EXCEPTIONS = """
Part : a, b, c ~~|
Other : x, y, z -> Part ~~|
value[Part] :EXCEPT: [b] = 2 * Time ~~|
value[b] = 7 ~~|
mapped[Other] = Time + 1 ~~|
through[Part] = mapped[Other] * 3 ~~|
elements : (e1 - e4) ~~|
numbered[elements] = 5 ~~|
grown[elements] = INTEG(numbered[elements], 1) ~~|
"""
THREE = """
A : a1, a2, a3, a4 ~~|
B : b1, b2, b3 ~~|
C : c1, c2, c3 ~~|
k[A] = 0.1, 0.2, 0.3, 0.4 ~~|
w[B, C] = 1, 2, 3; 4, 5, 6; 7, 8, 9; ~~|
level[A, B, C] = INTEG(inflow[A, B, C] - outflow[A, B, C], 1) ~~|
inflow[A, B, C] = k[A] * w[B, C] ~~|
outflow[A, B, C] = level[A, B, C] * share[A, B, C] ~~|
share[A, B, C] = k[A] / (1 + total[A]) ~~|
total[A] = SUM(level[A, B!, C!]) ~~|
all = SUM(total[A!]) ~~|
"""
LOOKUPS = """
effect((0,0),(2,4),(5,6),(8,1)) ~~|
inside = effect(Time / 2) ~~|
outside = effect(Time * 2 - 5) ~~|
direct = WITH LOOKUP(Time, ([(0,0)-(10,10)],(0,1),(4,9),(7,2))) ~~|
Part : a, b ~~|
table[a]((0,1),(5,2)) ~~|
table[b]((0,3),(3,7),(9,9)) ~~|
of each[Part] = table[Part](Time) ~~|
"""
DELAYS = """
input = STEP(5, 2) + PULSE(4, 1) * 3 + RAMP(0.5, 3, 8) ~~|
fixed = DELAY FIXED(input, 2, 1) ~~|
first = DELAY1(input, 3) ~~|
first from = DELAY1I(input, 3, 4) ~~|
third = DELAY3(input, 3) ~~|
third from = DELAY3I(input, 3, 4) ~~|
smooth = SMOOTH(input, 2) ~~|
smooth from = SMOOTHI(input, 2, 1) ~~|
smooth three = SMOOTH3(input, 2) ~~|
smooth three from = SMOOTH3I(input, 2, 1) ~~|
trend = TREND(input + 1, 4, 0.1) ~~|
forecast = FORECAST(input + 1, 4, 3) ~~|
sampled = SAMPLE IF TRUE(Time > 4, input, 2) ~~|
nth = DELAY N(input, 3, 2, 4) ~~|
smooth nth = SMOOTH N(input, 3, 2, 4) ~~|
"""
ARRAYED_DELAYS = """
Part : a, b ~~|
input[Part] = STEP(5, 2), 3 ~~|
lag[Part] = 2, 4 ~~|
late[Part] = DELAY1(signal[Part], lag[Part]) ~~|
calm[Part] = SMOOTH3(signal[Part], lag[Part]) ~~|
signal[a] = STEP(5, 2) ~~|
signal[b] = Time ~~|
""".replace("input[Part] = STEP(5, 2), 3 ~~|\n", "")
MACROS = """
:MACRO: GROWTH(rate, begin)
GROWTH = INTEG(GROWTH * rate, begin) ~~|
:END OF MACRO:
a = GROWTH(0.1, 10) ~~|
b = GROWTH(speed, a) ~~|
speed = 0.02 + Time / 100 ~~|
"""
FUNCTIONS = """
x = Time - 3 ~~|
logic = IF THEN ELSE(x > 0 :AND: x < 4 :OR: x = 5, 1, 0) ~~|
negated = IF THEN ELSE(:NOT: (x > 0), 2, 3) ~~|
small = MIN(x, 2) + MAX(x, -1) + ABS(x) + INTEGER(x / 2) + MODULO(Time, 3) ~~|
curves = SIN(x) + COS(x) + TAN(x / 10) + ARCTAN(x) + EXP(x / 10) + LN(Time + 1) + SQRT(Time) ~~|
safe = ZIDZ(1, x) + XIDZ(1, x, 9) ~~|
more = POWER(x, 2) + LOG(Time + 1, 2) + SINH(x / 9) + COSH(x / 9) + TANH(x) ~~|
angles = ARCSIN(x / 20) + ARCCOS(x / 20) ~~|
hour = GET TIME VALUE(0, 2, 0) ~~|
trains = PULSE TRAIN(1, 1, 3, 9) + QUANTUM(Time, 2) + x ^ 2 ~~|
"""
MIXED = """
Part : a, b, c ~~|
half[a] = 4 ~~|
half[b] = Time ~~|
half[c] = 2 + speed ~~|
speed = 3 ~~|
altogether = SUM(half[Part!]) ~~|
game = GAME(speed * 2) ~~|
begins = ACTIVE INITIAL(speed * Time, 5) ~~|
"""
VECTORS = """
Part : a, b, c ~~|
Row : r1, r2 ~~|
Column <-> Row ~~|
size[Part] = 3, 1, 2 ~~|
moving[Part] = size[Part] * (1 + Time) ~~|
order[Part] = VECTOR SORT ORDER(moving[Part], 1) ~~|
rank[Part] = VECTOR RANK(size[Part], 1) ~~|
chosen[Part] = 0, 1, 1 ~~|
some = VECTOR SELECT(chosen[Part!], moving[Part!], 0, 0, 0) ~~|
product = PROD(size[Part!]) ~~|
least = VMIN(moving[Part!]) ~~|
many = ELMCOUNT(Part) ~~|
matrix[Row, Column] = 2, 1; 1, 3; ~~|
inverse[Row, Column] = INVERT MATRIX(matrix[Row, Column], 2) ~~|
swapped[Column, Row] = matrix[Row, Column] ~~|
"""
ALLOCATION = """
Part : a, b, c ~~|
priorities : ptype, ppriority, pwidth, pextra ~~|
wish[Part] = 3, 2, 4 ~~|
profile[Part, ptype] = 3 ~~|
profile[Part, ppriority] = 1, 2, 3 ~~|
profile[Part, pwidth] = 2 ~~|
profile[Part, pextra] = 0 ~~|
first[Part] = 3, 2, 1 ~~|
there = 2 + Time / 2 ~~|
given[Part] = ALLOCATE AVAILABLE(wish[Part], profile[Part, ptype], there) ~~|
by priority[Part] = ALLOCATE BY PRIORITY(wish[Part], first[Part], 3, 1, there) ~~|
"""
CHANCE = """
one = RANDOM UNIFORM(0, 1, 5) ~~|
walk = INTEG(one - 0.5, 0) ~~|
"""
TIMES = """
goods = INTEG(1, 0) ~~|
ends = 4 + goods / 2 ~~|
"""

MODELS = {
    "stocks": model(STOCKS),
    "regions": model(REGIONS),
    "ages": model(AGES),
    "exceptions": model(EXCEPTIONS),
    "three": model(THREE),
    "lookups": model(LOOKUPS),
    "delays": model(DELAYS),
    "arrayed_delays": model(ARRAYED_DELAYS),
    "macros": model(MACROS),
    "functions": model(FUNCTIONS),
    "mixed": model(MIXED),
    "vectors": model(VECTORS),
    "allocation": model(ALLOCATION, step="1"),
    "chance": model(CHANCE),
    "moving_end": model(TIMES, stop="ends"),
    "moving_step": model(TIMES, step="IF THEN ELSE(Time < 3, 0.5, 0.25)"),
    "saved_seldom": model(STOCKS, step="0.0625", saveper="1"),
    "odd_step": model(STOCKS, step="0.4", stop="3"),
}
