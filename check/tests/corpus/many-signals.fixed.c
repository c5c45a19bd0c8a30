/* Draws in brackets, while a timer's signals arrive all the time. */
#include "storm.h"

int main(int argc, char **argv)
{
	storm(argc, argv);
	return done();
}
