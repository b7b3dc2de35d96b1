// Contacts of a geom with a height field as a collision function of MuJoCo's (mjCOLLISIONFUNC): what stands around
// field_contacts.cu, whose text takes the place of the line BODY.
#include <mujoco/mujoco.h>

#include <cmath>

static int find_contacts(int kind, const float* size, const float* centre, const float* turn, int nrow, int ncol,
                         float half_x, float half_y, float top, const float* heights, float reach, float* result) {
BODY
    return found;
}

extern "C" int palestra_field_contacts(const mjModel* m, mjData* d, mjPreContact* contacts, int ground, int geom,
                                       mjtNum margin) {
    const int field = m->geom_dataid[ground];
    const mjtNum *at = d->geom_xpos + 3 * ground, *frame = d->geom_xmat + 9 * ground;
    const mjtNum *position = d->geom_xpos + 3 * geom, *orientation = d->geom_xmat + 9 * geom;
    float size[3], centre[3], turn[9], found[7 * 4];
    for (int i = 0; i < 3; ++i) {
        size[i] = (float)m->geom_size[3 * geom + i];
        mjtNum sum = 0;
        for (int k = 0; k < 3; ++k) sum += frame[3 * k + i] * (position[k] - at[k]);
        centre[i] = (float)sum;
        for (int j = 0; j < 3; ++j) {
            mjtNum entry = 0;
            for (int k = 0; k < 3; ++k) entry += frame[3 * k + i] * orientation[3 * k + j];
            turn[3 * i + j] = (float)entry;
        }
    }
    const mjtNum* extent = m->hfield_size + 4 * field;
    if (centre[2] - m->geom_rbound[geom] > extent[2] + margin) return 0;
    const int number = find_contacts(m->geom_type[geom], size, centre, turn, m->hfield_nrow[field],
                                     m->hfield_ncol[field], (float)extent[0], (float)extent[1], (float)extent[2],
                                     m->hfield_data + m->hfield_adr[field], (float)margin, found);
    for (int c = 0; c < number; ++c) {
        const float* contact = found + 7 * c;
        contacts[c].dist = contact[0];
        for (int i = 0; i < 3; ++i) {
            mjtNum point = at[i], normal = 0;
            for (int k = 0; k < 3; ++k) {
                point += frame[3 * i + k] * contact[1 + k];
                normal += frame[3 * i + k] * contact[4 + k];
            }
            contacts[c].pos[i] = point, contacts[c].normal[i] = normal, contacts[c].tangent[i] = 0;
        }
    }
    return number;
}
