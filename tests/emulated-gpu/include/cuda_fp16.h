#pragma once
#include "emulated_numbers.h"
