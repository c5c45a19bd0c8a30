/* Sixteen threads, eight buffers, each bracket right. */
#include "stress.h"

int main(int argc, char **argv)
{
	stress(argc, argv);
	return done();
}
